"""What is known of a tensor before it is quantised: its GenNorm, and what no GenNorm tells.

Many updates are no smooth density: most entries of an embedding's gradient are exactly zero, all entries of a bias may
be alike, one entry may be a billion times the others. A step size or a scale that follows from the fit alone can then
miss every entry, so a few exact facts stand beside the fit.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.model.fit import Moments, draw_sample, fit_moments, measure, refuse_non_finite
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.model.step_sizes import K_MAX, STEP_MIN

F32 = npt.NDArray[np.float32]

SPARSE = 0.75  # share of zeros above which the entries that are not zero are collected, which is cheap then
FINEST_BITS = 6.0  # log2 of the typical magnitude in steps that is ever worth while: about 8 bits an entry that is sent


@dataclass(frozen=True, slots=True, eq=False)
class TensorFit:
    """A tensor's fit and the facts beside it.

    Attributes:
        model: the GenNorm of all entries.
        n: entries.
        values: those to count on, one-dimensional float32: all of them (a view, so they must not change meanwhile), or
            in a sparse tensor a copy of those that are not zero.
        share: of the entries that are not zero; exact in a sparse tensor, else estimated.
        mean_log2: mean of log2 of the magnitude over the entries that are not zero; 0 where there are none.
        mean_square: over all entries, in squared gradient units; estimated.
        largest: largest magnitude, in gradient units.
    """

    model: GenNorm
    n: int
    values: F32
    share: float
    mean_log2: float
    mean_square: float
    largest: float

    @property
    def range_step(self) -> float:
        """The finest step size at which no entry saturates, in gradient units."""
        return max(self.largest / K_MAX, STEP_MIN)

    @property
    def finest_step(self) -> float:
        """The finest step size worth its bits, in gradient units: entries of typical magnitude are 64 steps large."""
        return max(self.range_step, math.exp2(self.mean_log2 - FINEST_BITS))

    @property
    def affordable_bits(self) -> float:
        """The most bits an entry that can be spent with use: where the others are, and 8 bits for each."""
        p = self.share
        where = -(p * math.log2(p) + (1 - p) * math.log2(1 - p)) if 0 < p < 1 else 0.0
        return where + 8.0 * p


def fit_tensor(values: F32) -> TensorFit:
    """Fit a GenNorm to `values` and take the facts beside it.

    Args:
        values: (n,) float32, C-contiguous; kept as a view unless it is sparse.

    Raises:
        NonFiniteError: an entry is NaN or infinite.
    """
    largest = refuse_non_finite(values)
    moments, used = measure(values), values
    if moments.n_zero > SPARSE * moments.n and largest > 0:
        used = values[np.flatnonzero(values)]
        moments = Moments(values.size, values.size - used.size, measure(used).means)
    model = fit_moments(moments, draw_sample(used, moments))
    share = 1 - moments.n_zero / max(moments.n, 1)
    mean_log2, mean_square = (float(moments.means[i]) if share else 0.0 for i in (0, 3))
    return TensorFit(model, values.size, used, share, mean_log2, share * mean_square, largest)


def fit_of_model(model: GenNorm) -> TensorFit:
    """Return what a GenNorm alone tells of a tensor: no entries and no facts beside it."""
    return TensorFit(model, 0, np.empty(0, np.float32), 0.0, 0.0, 0.0, 0.0)
