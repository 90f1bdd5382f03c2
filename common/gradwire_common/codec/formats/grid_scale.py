"""The scale of a small floating-point grid for a tensor: the fit's, or measured where the fit does not describe it."""

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.formats import Minifloat, MinifloatFormat, fitted_minifloat
from gradwire_common.codec.formats.minifloat import scale_limits
from gradwire_common.codec.model.fit import BETA_MAX, BETA_MIN
from gradwire_common.codec.model.rates.measured import sample_of
from gradwire_common.codec.model.tensor_fit import TensorFit

F32 = npt.NDArray[np.float32]

N_TRIED = 1 << 12  # entries that the scales are tried on
N_SCALES = 33  # half octaves, from the one that puts the largest entry on the outermost level
DENSE = 0.95  # share of entries that are not zero, from which a fit may be trusted
SPREAD = 2.0  # ratio of the mean square to the fit's, either way, up to which it is trusted


def choose_minifloat(form: MinifloatFormat, fit: TensorFit) -> Minifloat:
    """Return the grid `form` at the scale of least mean square error.

    That is the fit's as a rule. Zeros, atoms, mixtures and outliers, which no GenNorm describes, get the best of the
    fit's and a range of others on a sample; one puts the largest entry on a level, so that the error is always smaller
    than the tensor.

    Args:
        form: The grid.
        fit: Of the tensor.
    """
    fitted = fitted_minifloat(form, fit.model)
    if fit.largest == 0 or _describes(fit):
        return fitted
    low, high = scale_limits(form)
    outermost = float(form.magnitudes[-1]) / fit.largest
    scales = [fitted.scale, *(outermost * 2.0 ** (0.5 * np.arange(N_SCALES)))]
    sample = sample_of(fit.values, min(1.0, N_TRIED / fit.values.size))
    tried = [Minifloat(form, min(max(scale, low), high)) for scale in scales]
    return min(tried, key=lambda grid: _error(grid, sample, fit))


def _describes(fit: TensorFit) -> bool:
    """Whether the GenNorm has the entries' mean square, as far as the largest tells, and a density of its own."""
    if fit.share < DENSE or not 1.01 * BETA_MIN < fit.model.beta < 0.99 * BETA_MAX:
        return False
    square = max(fit.mean_square, fit.largest**2 / fit.n)
    return fit.model.variance / SPREAD < square < fit.model.variance * SPREAD


def _error(grid: Minifloat, sample: F32, fit: TensorFit) -> float:
    """The squared errors of the tensor, from those of a sample and of its largest entry."""
    largest = np.array([fit.largest], np.float32)
    of_sample, of_largest = (
        np.square(x - grid.dequantize(grid.quantize(x)), dtype=np.float64).mean() for x in (sample, largest)
    )
    return float(of_sample * fit.values.size + of_largest)
