"""A dead zone wider than half a step: fewer entries are sent, each in finer steps, for the same bits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.model.rates import Spending
from gradwire_common.codec.model.rates.measured import sample_of
from gradwire_common.codec.model.tensor_fit import TensorFit
from gradwire_common.methods.method import F32

HALF = 0.5  # of a step: what rounding to the nearest level leaves at zero
N_COUNTED = 1 << 16  # entries over all tensors
MOST_LEVELS = 256  # told apart when bits are counted
FINEST = 1 / 8  # of the step without
TOLERANCE = 0.002  # of log(step)


@dataclass(frozen=True, slots=True)
class DeadZone:
    """Selects what is not below `border`."""

    border: np.float32

    def select(self, values: F32) -> F32:
        """Return a copy of `values` in which what is not sent is zero."""
        return np.where(np.abs(values) < self.border, np.float32(0), values)


def narrowed(plan: Spending, fits: Sequence[TensorFit], dead_zone: float) -> Spending:
    """Return the plan with the finer step at which a dead zone costs the bits that `plan` costs without.

    Both are counted on the same entries, so that what a count misses, it misses of both. A plan that says itself which
    entries are sent stays.

    Args:
        plan: of all tensors.
        fits: theirs.
        dead_zone: least magnitude that is sent, in steps, from HALF.
    """
    if dead_zone <= HALF or plan.thinning is not None:
        return plan
    rate = min(1.0, N_COUNTED / max(sum(fit.values.size for fit in fits), 1))
    samples = [
        (np.abs(sample_of(fit.values, rate)).astype(np.float64), rate * (fit.n - fit.values.size)) for fit in fits
    ]
    want = sum(_bits(sample, zeros, plan.step, HALF) for sample, zeros in samples)
    low, high = math.log(FINEST * plan.step), math.log(plan.step)
    while high - low > TOLERANCE:
        middle = (low + high) / 2
        if sum(_bits(sample, zeros, math.exp(middle), dead_zone) for sample, zeros in samples) > want:
            low = middle
        else:
            high = middle
    return replace(plan, step=max(math.exp(high), *(fit.range_step for fit in fits)))


def _bits(magnitudes: npt.NDArray[np.float64], zeros: float, step: float, dead_zone: float) -> float:
    """Bits of entries by their own distribution, signs included; `zeros` are there beside them."""
    sent = magnitudes[magnitudes >= dead_zone * step]
    counts = np.bincount(np.clip(np.rint(sent / step), 1, MOST_LEVELS).astype(np.int64)).astype(np.float64)
    n = magnitudes.size + zeros
    counts = np.append(counts[counts > 0], n - sent.size)
    counts = counts[counts > 0]
    return float(sent.size - (counts * np.log2(counts / n)).sum()) if n else 0.0
