"""The scale of a grid of levels for a tensor: the fit's, or measured where the fit does not describe it.

The scale of least mean square error under the fit: CO3 (arXiv 2204.08211), section III.
"""

from collections.abc import Hashable
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy import special

from gradwire_common.codec.formats.format import Parameter, Quantizer
from gradwire_common.codec.model.fit import BETA_MAX, BETA_MIN
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.model.rates.measured import sample_of
from gradwire_common.codec.model.tensor_fit import TensorFit

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

N_TRIED = 1 << 12  # entries that the scales are tried on
N_SCALES = 33  # half octaves, from the one that puts the largest entry on the outermost level
DENSE = 0.95  # share of entries that are not zero, from which a fit may be trusted
SPREAD = 2.0  # ratio of the mean square to the fit's, either way, up to which it is trusted


class ScaledFormat(Hashable, Protocol):
    """A format whose quantisers are a symmetric grid of levels divided by a scale; hashable."""

    @property
    def magnitudes(self) -> F64:
        """The levels >= 0 at scale 1, ascending, float64 of shape (n + 1,)."""

    @property
    def borders(self) -> F64:
        """The decision borders >= 0 at scale 1, ascending, float64 of shape (n,)."""

    @property
    def parameter(self) -> Parameter:
        """The range of the scale."""

    def build(self, parameter: float = 0.0) -> Quantizer:
        """Return the quantiser at a scale."""


def choose_scale(form: ScaledFormat, fit: TensorFit) -> float:
    """Return the scale of least mean square error.

    That is the fit's as a rule. Zeros, atoms, mixtures and outliers, which no GenNorm describes, get the best of the
    fit's and a range of others on a sample; one puts the largest entry on a level, so that the error is always smaller
    than the tensor.

    Args:
        form: The format.
        fit: Of the tensor.
    """
    fitted = form.parameter.nearest(optimal_scale(form, fit.model.beta) / fit.model.alpha)
    if fit.largest == 0 or _describes(fit):
        return fitted
    outermost = float(form.magnitudes[-1]) / fit.largest
    scales = [fitted, *(outermost * 2.0 ** (0.5 * np.arange(N_SCALES)))]
    sample = sample_of(fit.values, min(1.0, N_TRIED / fit.values.size))
    tried = [form.parameter.nearest(scale) for scale in scales]
    return min(tried, key=lambda scale: _error(form.build(scale), sample, fit))


def _describes(fit: TensorFit) -> bool:
    """Whether the GenNorm has the entries' mean square, as far as the largest tells, and a density of its own."""
    if fit.share < DENSE or not 1.01 * BETA_MIN < fit.model.beta < 0.99 * BETA_MAX:
        return False
    square = max(fit.mean_square, fit.largest**2 / fit.n)
    return fit.model.variance / SPREAD < square < fit.model.variance * SPREAD


def _error(quantizer: Quantizer, sample: F32, fit: TensorFit) -> float:
    """The squared errors of the tensor, from those of a sample and of its largest entry."""
    largest = np.array([fit.largest], np.float32)
    of_sample, of_largest = (
        np.square(x - quantizer.dequantize(quantizer.quantize(x)), dtype=np.float64).mean() for x in (sample, largest)
    )
    return float(of_sample * fit.values.size + of_largest)


def grid_distortion(form: ScaledFormat, beta: float, scales: npt.ArrayLike) -> F64:
    """Return the mean square error of `form` at each of `scales` on a GenNorm of shape `beta` and alpha 1.

    Exact, from partial moments: over (s, t) the integral of x**m p(x) is
    (P((m + 1) / beta, t**beta) - P((m + 1) / beta, s**beta)) Gamma((m + 1) / beta) / Gamma(1 / beta) for the magnitude.

    Args:
        form: The format.
        beta: Shape, > 0.
        scales: Scales, any shape (S).

    Returns:
        float64 in the shape of `scales`, in units of alpha**2.
    """
    scales = np.asarray(scales, np.float64)[..., None]
    levels = form.magnitudes / scales
    borders = (form.borders / scales) ** beta
    moments = []
    for order in (0, 1, 2):
        a = (order + 1) / beta
        inside = special.gammainc(a, borders)
        outside = special.gammaincc(a, borders)
        low = np.diff(inside, axis=-1, prepend=0.0)
        high = -np.diff(outside, axis=-1, prepend=1.0)
        mass = np.where(inside < 0.5, low, high)
        total = np.exp(special.gammaln(a) - special.gammaln(1 / beta))
        moments.append(np.concatenate([mass, outside[..., -1:]], axis=-1) * total)
    mass, first, second = moments
    return np.asarray((second - 2 * levels * first + levels**2 * mass).sum(axis=-1))


@lru_cache(maxsize=256)
def optimal_scale(form: ScaledFormat, beta: float) -> float:
    """Return the scale of least mean square error on a GenNorm of shape `beta` and alpha 1.

    Args:
        form: The format.
        beta: Shape, > 0.

    Returns:
        Scale in 1 / alpha.
    """
    sigma = GenNorm(beta, 1.0).variance ** 0.5
    low, high = -8.0, 24.0
    for _ in range(4):
        exponents = np.linspace(low, high, 129)
        best = int(np.argmin(grid_distortion(form, beta, np.exp2(exponents) / sigma)))
        low, high = exponents[max(best - 1, 0)], exponents[min(best + 1, 128)]
    return float(np.exp2((low + high) / 2) / sigma)
