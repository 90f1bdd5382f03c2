"""Fewer entries in place of coarser ones: which are sent where no step size costs the bits asked.

Where many entries are alike, all of them cross half a step together: at a step of just under twice their magnitude they
are sent as one step each, twice of what they are, and at a step just above nothing is sent. Between the two lies every
rate below a bit. There the largest entries are sent, to at least a step each, so that none is sent as more than 3/2 of
what it is; of those that are equal, some, spread evenly.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from gradwire_common.codec.model.rates.measured import FAR_BITS, sample_of
from gradwire_common.codec.model.tensor_fit import TensorFit

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

N_SORTED = 1 << 15  # magnitudes over all tensors
MOST_LEVELS = 64  # told apart when the bits are counted


@dataclass(frozen=True, slots=True)
class Thinning:
    """The entries that are sent.

    Attributes:
        step: smallest magnitude that is sent, and the step size, in gradient units.
        share: of the entries of exactly this magnitude that are sent, from 0 to 1.
        gain: how much less energy the errors have than the entries, predicted; in squared gradient units, over all.
    """

    step: float
    share: float
    gain: float


class Selector:
    """Selects what is sent of one tensor after the other, the same share of equal ones in all of them together."""

    def __init__(self, thinning: Thinning):
        self._least = np.float32(thinning.step)
        self._share = thinning.share
        self._credit = 0.5  # of an entry: shares left over so far

    def select(self, values: F32) -> F32:
        """Return a copy of `values` in which what is not sent is zero."""
        magnitudes = np.abs(values)
        kept = np.where(magnitudes > self._least, values, np.float32(0))
        equal = np.flatnonzero(magnitudes == self._least)
        turns = np.floor(self._credit + self._share * np.arange(equal.size + 1))
        chosen = equal[np.diff(turns) > 0]
        kept[chosen] = values[chosen]
        self._credit = (self._credit + self._share * equal.size) % 1.0
        return kept


def thin(fits: Sequence[TensorFit], bits: float) -> Thinning:
    """Choose the largest entries, as many as `bits` pay for, but at least one.

    Args:
        fits: of the tensors, one step size for all; an entry among them is not zero.
        bits: Bits of all tensors together, > 0.
    """
    n, size = sum(fit.n for fit in fits), sum(fit.values.size for fit in fits)
    rate = min(1.0, N_SORTED / size)
    magnitudes = np.abs(np.concatenate([sample_of(fit.values, rate) for fit in fits])).astype(np.float64)
    magnitudes = np.append(magnitudes, max(fit.largest for fit in fits)) if rate < 1 else magnitudes
    magnitudes = np.sort(magnitudes[magnitudes > 0])[::-1]
    low, high = 1, magnitudes.size
    while low < high:
        middle = (low + high + 1) // 2
        if _bits(magnitudes[:middle], n * rate) <= bits * rate:
            low = middle
        else:
            high = middle - 1
    step = max(float(magnitudes[low - 1]), *(fit.range_step for fit in fits))
    above, equal = int((magnitudes > step).sum()), int((magnitudes == step).sum())
    share = (low - above) / equal if equal else 0.0
    sent = magnitudes[: above + equal]
    levels, weights = np.rint(sent / step) * step, np.where(sent > step, 1.0, share)
    return Thinning(step, share, float(weights @ (levels * (2 * sent - levels))) / rate)


def _bits(sent: F64, n: float) -> float:
    """Bits that the magnitudes `sent`, descending, cost among `n` entries: their places, signs and levels."""
    m, levels = sent.size, sent / sent[-1]
    places = -(special.xlogy(m, m / n) + special.xlog1py(n - m, -m / n)) / np.log(2)
    counts = np.bincount(np.minimum(levels, MOST_LEVELS).astype(np.int64))
    far = np.log2(levels[: counts[MOST_LEVELS] if counts.size > MOST_LEVELS else 0]) + FAR_BITS
    return float(places + m - special.xlogy(counts, counts / m).sum() / np.log(2) + far.sum())
