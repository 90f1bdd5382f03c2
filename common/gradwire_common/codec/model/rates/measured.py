"""Bits counted on the entries themselves, where no fit predicts them.

Below a bit an entry the rate hangs on the few entries beyond half a step, far out in the tails; a residual memory gives
those a shape that no GenNorm has, since what stays below half a step is kept and comes back; and zeros, atoms and
mixtures have no density at all. Counting costs a fraction of the encoding.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import special

from gradwire_common.codec.kernels.exceedances import BLOCK, exceedances
from gradwire_common.codec.kernels.moments import strip_sample
from gradwire_common.codec.model.tensor_fit import TensorFit

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

N_COUNTED = 1 << 20  # entries over all tensors; at 0.03 bits some 3000 of them are not zero: 2 % of sampling error
N_BORDERS = 12  # cells counted one by one on each side at low rates
N_SAMPLED = 1 << 14  # entries over all tensors, whose cells are counted one by one at high rates
N_CELLS = 120  # of those on each side, about as many as a codebook tells apart
FAR_BITS = 1.6  # bits of an entry beyond the cells above log2 of its distance in steps; 1.6 to 2.3 for smooth tails


def measured_bits(fits: Sequence[TensorFit], step: float) -> float:
    """Return the mean bits per entry that the symbols cost at `step`, each tensor with a code of its own.

    It is the empirical zeroth-order entropy of the cells next to zero, counted on about N_COUNTED entries or on all
    where there are fewer; what lies beyond costs what a geometric tail does, or its distance if that is more: so atoms
    far from zero, which have no entropy, cost what a code for them takes.

    Args:
        fits: of the tensors.
        step: Step size in gradient units.
    """
    with np.errstate(over="ignore"):
        borders = ((np.arange(N_BORDERS) + 0.5) * step).astype(np.float32)
    inverse = np.float32(1 / step)
    every = max(1, sum(fit.values.size for fit in fits) // N_COUNTED)
    counts, scratch = np.empty((len(fits), N_BORDERS), np.int64), np.empty(BLOCK, np.float32)
    n_read, far = np.zeros(len(fits)), np.zeros(len(fits))
    for i, fit in enumerate(fits):
        n_read[i], far[i] = exceedances(fit.values, borders, inverse, every, scratch, counts[i])
    n = np.array([fit.n for fit in fits], np.float64)
    used = np.array([fit.values.size for fit in fits], np.float64)
    scale = used / np.maximum(n_read * n, 1)  # a count's share of the tensor's entries
    return float(n @ _entropies(counts * scale[:, None], far * scale)) / max(float(n.sum()), 1.0)


class SampledRate:
    """The bits per entry at high rates, where symbols are many: as `measured_bits`, with N_CELLS cells on a sample."""

    def __init__(self, fits: Sequence[TensorFit]):
        self._n = [fit.n for fit in fits]
        self._share = [fit.values.size / max(fit.n, 1) for fit in fits]
        rate = min(1.0, N_SAMPLED / max(sum(fit.values.size for fit in fits), 1))
        self._samples = [sample_of(fit.values, rate) for fit in fits]

    def bits(self, step: float) -> float:
        """Return the mean bits per entry at `step`, in gradient units."""
        total = 0.0
        for n, share, sample in zip(self._n, self._share, self._samples, strict=True):
            steps = np.abs(sample, dtype=np.float64) / step
            cells = np.minimum(np.rint(steps), N_CELLS).astype(np.int64)
            counts = np.bincount(cells, minlength=N_CELLS + 1)
            p = counts * (share / max(sample.size, 1))
            p[0] += 1 - share
            used = counts[1:] > 0
            far = (np.log2(steps[cells == N_CELLS]) + FAR_BITS).sum() * share / max(sample.size, 1)
            bias = (2 * used.sum()) / (2 * math.log(2) * max(sample.size, 1)) * share  # Miller and Madow, 1955
            signs = 1 - p[0]
            total += n * (float(-special.xlogy(p, p).sum()) / math.log(2) + signs + bias + far)
        return total / max(sum(self._n), 1)


def sample_of(values: F32, rate: float) -> F32:
    """Return about a share `rate` of `values`, float32; all of them where `rate` is 1, else some from all parts."""
    if rate >= 1 or not values.size:
        return values
    sample = np.empty(math.ceil(values.size * rate), np.float32)
    strip_sample(values, sample)
    return sample


def _entropies(beyond: F64, far: F64) -> F64:
    """Bits of symmetric sources.

    Args:
        beyond: (n, k): shares that lie above k + 1/2 steps.
        far: (n,): sums, over those above the last border, of log2(1 + steps above it), divided by all entries.
    """
    tail = beyond[:, -1]
    ratio = np.clip(tail / np.maximum(beyond[:, -2], 1e-300), 1e-9, 0.999)
    zero, cells = 1 - beyond[:, 0], (beyond[:, :-1] - beyond[:, 1:]) / 2
    nats = -special.xlogy(zero, zero) - 2 * special.xlogy(cells, cells).sum(axis=1) - special.xlogy(tail, tail / 2)
    geometric = -special.xlogy(tail, 1 - ratio) - tail * ratio / (1 - ratio) * np.log(ratio)
    return np.asarray(nats / math.log(2) + np.maximum(geometric / math.log(2), far + FAR_BITS * np.where(far, tail, 0)))
