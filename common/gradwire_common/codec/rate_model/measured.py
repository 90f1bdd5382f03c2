"""Bits counted on the entries themselves, where the fit is too coarse to foresee them.

Below a bit an entry the rate hangs on the few entries beyond half a step, far out in the tails; and a residual memory
gives those a shape that no GenNorm has, since what stays below half a step is kept and comes back. So there the step
from the model is only the first guess, and the next ones come from counts, which cost a fraction of the encoding.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import special

from gradwire_common.codec.fit import ALPHA_MIN
from gradwire_common.codec.gennorm import GenNorm
from gradwire_common.codec.kernels.exceedances import exceedances
from gradwire_common.codec.quantizers import STEP_MAX, STEP_MIN
from gradwire_common.codec.rate_model.allocation import common_step

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

N_COUNTED = 1 << 20  # entries over all tensors; at 0.03 bits some 3000 of them are not zero: 2 % of sampling error
N_BORDERS = 12  # cells counted one by one on each side; a geometric tail stands for the others
MEASURED_BITS_MAX = 2.5  # bits per entry; above, the fit foresees the bits better than a geometric tail
TOLERANCE = 0.005  # of the bits
ROUNDS_MAX = 16  # counts; three to five are usual with a good guess
FIRST_REACH = 0.25  # of log(step), on the way to a first bracket; doubled each time


def measured_bits(tensors: Sequence[F32], step: float) -> float:
    """Return the mean bits per entry that the symbols cost at `step`, each tensor with a code of its own.

    It is the empirical zeroth-order entropy, counted on about N_COUNTED entries, or on all where there are fewer.

    Args:
        tensors: Contiguous, one-dimensional, finite float32 arrays.
        step: Step size in gradient units.
    """
    n = sum(tensor.size for tensor in tensors)
    with np.errstate(over="ignore"):
        borders = ((np.arange(N_BORDERS) + 0.5) * step).astype(np.float32)
    every, counts = max(1, n // N_COUNTED), np.empty((len(tensors), N_BORDERS), np.int64)
    n_read = [exceedances(tensor, borders, every, row) for tensor, row in zip(tensors, counts, strict=True)]
    shares = counts / np.maximum(n_read, 1)[:, None]
    sizes = np.array([tensor.size for tensor in tensors], np.float64)
    return float(sizes @ _entropies(shares)) / max(n, 1)


def spending_step(tensors: Sequence[F32], models: Sequence[GenNorm], bits: float, guess: float | None = None) -> float:
    """Return the one step size at which all tensors together cost `bits` per entry, as counted on the entries.

    Args:
        tensors: Contiguous, one-dimensional, finite float32 arrays.
        models: Their fits; above MEASURED_BITS_MAX they are the whole answer.
        bits: Mean bits per entry over all tensors, > 0.
        guess: Where to begin, e.g. the last round's step size, which saves counts; by default what the fits say.

    Returns:
        Step size in gradient units, from STEP_MIN to STEP_MAX.

    Raises:
        UsageError: bits <= 0, or models and tensors differ in number.
    """
    step = common_step(models, [tensor.size for tensor in tensors], bits)
    if bits > MEASURED_BITS_MAX or all(model.alpha <= ALPHA_MIN for model in models):
        return step
    x, reach = math.log(min(max(guess or step, STEP_MIN), STEP_MAX)), FIRST_REACH
    below: tuple[float, float] | None = None  # log(step) and log(bits got / bits wanted) where the step is too fine
    above: tuple[float, float] | None = None  # where it is too coarse
    for _ in range(ROUNDS_MAX):
        excess = math.log(max(measured_bits(tensors, math.exp(x)), 1e-9) / bits)
        if abs(excess) < TOLERANCE:
            break
        if excess > 0:
            below = (x, excess)
        else:
            above = (x, excess)
        if below and above:
            width = above[0] - below[0]
            if width < 1e-6:
                break
            share = below[1] / (below[1] - above[1])
            x = below[0] + min(max(share, 0.15), 0.85) * width
        else:
            x = min(max(x + math.copysign(reach, excess), math.log(STEP_MIN)), math.log(STEP_MAX))
            reach *= 2
    return min(max(math.exp(x), STEP_MIN), STEP_MAX)


def _entropies(beyond: F64) -> F64:
    """Bits of symmetric sources, shares beyond[:, k] of which lie above k + 1/2 steps; shape (n, k) to (n)."""
    tail = beyond[:, -1]
    ratio = np.clip(tail / np.maximum(beyond[:, -2], 1e-300), 1e-9, 0.999)
    zero, cells = 1 - beyond[:, 0], (beyond[:, :-1] - beyond[:, 1:]) / 2
    nats = -special.xlogy(zero, zero) - 2 * special.xlogy(cells, cells).sum(axis=1)
    nats -= special.xlogy(tail, tail * (1 - ratio) / 2) + tail * ratio / (1 - ratio) * np.log(ratio)
    return np.asarray(nats / math.log(2))
