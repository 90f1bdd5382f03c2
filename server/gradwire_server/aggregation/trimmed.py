"""The coordinate-wise trimmed mean and median: what a few workers push moves no entry out of the others' range."""

import math

import numpy as np
import numpy.typing as npt

from gradwire_common.errors import ConfigError
from gradwire_common.layout.manifest import Layout
from gradwire_common.methods.method import F32, Method
from gradwire_common.units import quoted
from gradwire_server.aggregation.kept import KeptPushes
from gradwire_server.aggregation.outliers import treatments
from gradwire_server.aggregation.rows import decoded_rows
from gradwire_server.aggregation.rule import Mean

COLUMNS = 1 << 13  # entries sorted at a time: of 8 pushes they stay in the cache


class TrimmedMean(KeptPushes):
    """Of every entry, the mean of the pushes' values without the `trimmed` largest and as many of the smallest.

    Yin, Chen, Ramchandran, Bartlett, "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", ICML
    2018, definition 2. Where no more workers lie than are trimmed at each end, every entry of the result is within the
    range of the honest values of that entry, whatever the others push. All pushes weigh the same: `samples` are not
    asked. The values are sorted, so the order of pushes changes nothing.

    Args:
        layout: of the model.
        method: decodes what pushes hold.
        fraction: of the pushes that may lie, from 0 to 0.5; so many, rounded up, are trimmed at each end.

    Raises:
        ConfigError: another fraction.
    """

    def __init__(self, layout: Layout, method: Method, fraction: float = 0.25):
        super().__init__(layout, method)
        self._fraction = checked_fraction("trimmed_mean", fraction)

    def finish(self) -> Mean:
        """Return the trimmed mean of all entries, buffers included."""
        pushes = self._take()
        kept = [push for _, push in pushes]
        with_buffers = self._layout.n_buffers > 0 and all(push.with_buffers for push in kept)
        distances = np.zeros(len(kept))
        cut = trimmed(self._fraction, len(kept))
        for place, rows in decoded_rows(kept, self._layout, self._method, with_buffers=with_buffers):
            out = self._entries[place]
            squares = trim(rows, cut, out)
            if place.start < self._layout.n_parameters:
                distances += squares
        return Mean(self._entries, with_buffers, treatments(pushes, distances))


def median(layout: Layout, method: Method) -> TrimmedMean:
    """Return the coordinate-wise median: the trimmed mean that leaves the middle value, or the two of an even number.

    Yin et al., definition 1. It withstands any minority.
    """
    return TrimmedMean(layout, method, 0.5)


def trimmed(fraction: float, n: int) -> int:
    """Return how many of `n` values are trimmed at each end: `fraction` of them, rounded up; one or two are left."""
    return min(math.ceil(round(fraction * n, 9)), (n - 1) // 2)


def trim(rows: F32, cut: int, out: F32) -> npt.NDArray[np.float64]:
    """Write the trimmed mean of every column of `rows` to `out`; return each row's squared distance from it.

    Args:
        rows: (n, m) float32; read.
        cut: values left out at each end, less than n / 2.
        out: (m,) float32.

    Returns:
        (n,) float64.
    """
    n, m = rows.shape
    distances = np.zeros(n)
    for start in range(0, m, COLUMNS):
        block = np.ascontiguousarray(rows[:, start : start + COLUMNS])
        ordered = np.sort(block, axis=0)[cut : n - cut]
        middle = ordered.mean(axis=0, dtype=np.float64).astype(np.float32)
        out[start : start + COLUMNS] = middle
        distances += np.square(np.subtract(block, middle, dtype=np.float64)).sum(axis=1)
    return distances


def checked_fraction(rule: str, fraction: object) -> float:
    """Return the share of liars that a rule is to withstand. Raises ConfigError unless it is from 0 to 0.5."""
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 <= fraction <= 0.5:
        raise ConfigError(f"aggregation {rule}: fraction: got {quoted(fraction)}, want a number from 0 to 0.5")
    return float(fraction)
