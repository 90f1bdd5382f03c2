"""The double Weibull distribution, another model of a gradient's entries.

Density: c / (2 s) (abs(x) / s)**(c - 1) exp(-(abs(x) / s)**c). Shape c 1 is Laplace; below 1 it peaks at zero.

Source: Fu et al., "Don't waste your bits! Squeeze activations and gradients for deep neural networks via TinyScript",
ICML 2020.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from gradwire_common.errors import UsageError

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

SHAPE_MIN, SHAPE_MAX = 0.1, 20.0
N_FITTED = 1 << 16  # entries; a standard error of 0.3 % in the shape


@dataclass(frozen=True, slots=True)
class DoubleWeibull:
    """A double Weibull of shape `shape` and scale `scale`, both positive and finite; the scale in gradient units."""

    shape: float
    scale: float

    def __post_init__(self) -> None:
        for name, got in (("shape", self.shape), ("scale", self.scale)):
            if not (math.isfinite(got) and got > 0):
                raise UsageError(f"double Weibull {name} is {got}, want a positive finite number")

    def density(self, x: npt.ArrayLike) -> F64:
        """Return the density at `x`, float64, per gradient unit; inf at 0 where the shape is below 1."""
        ratio = np.abs(np.asarray(x, np.float64)) / self.scale
        with np.errstate(divide="ignore", over="ignore", under="ignore"):
            peak = self.shape / (2 * self.scale) * ratio ** (self.shape - 1)
            return np.asarray(peak * np.exp(-(ratio**self.shape)))

    def inside(self, x: npt.ArrayLike) -> F64:
        """Return the probability of a magnitude below abs(x), float64; relatively exact near zero."""
        return np.asarray(-np.expm1(-self._exponent(x)))

    def survival(self, x: npt.ArrayLike) -> F64:
        """Return the probability of a value above `x`, float64; relatively exact in the upper tail."""
        outside = np.exp(-self._exponent(x)) / 2
        return np.asarray(np.where(np.asarray(x) >= 0, outside, 1 - outside))

    def cdf(self, x: npt.ArrayLike) -> F64:
        """Return the probability of a value at most `x`, float64."""
        return self.survival(-np.asarray(x, np.float64))

    def quantile(self, p: npt.ArrayLike) -> F64:
        """Return the value that a share `p` of the distribution lies below; inverse of `cdf`."""
        p = np.asarray(p, np.float64)
        with np.errstate(divide="ignore"):
            magnitude = self.scale * (-np.log(2 * np.minimum(p, 1 - p))) ** (1 / self.shape)
        return np.asarray(np.copysign(magnitude, p - 0.5))

    @property
    def variance(self) -> float:
        """Mean square, in squared gradient units."""
        return self.moment(2)

    def moment(self, order: float) -> float:
        """Return the mean of abs(x)**order, order >= 0."""
        return math.exp(order * math.log(self.scale) + math.lgamma(1 + order / self.shape))

    def moment_inside(self, order: float, x: npt.ArrayLike) -> F64:
        """Return the mean of abs(x)**order where the magnitude is below abs(x), and of 0 elsewhere, float64."""
        return np.asarray(self.moment(order) * special.gammainc(1 + order / self.shape, self._exponent(x)))

    def _exponent(self, x: npt.ArrayLike) -> F64:
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray((np.abs(np.asarray(x, np.float64)) / self.scale) ** self.shape)


def fit_double_weibull(values: F32) -> DoubleWeibull | None:
    """Fit by maximum likelihood to the entries that are not zero, or N_FITTED of them spread over all.

    The shape is the root of sum m^c log m / sum m^c - 1 / c - mean log m, which rises with c.

    Args:
        values: (n,) float32, finite.

    Returns:
        The fit; None where all entries are zero.
    """
    magnitudes = np.abs(values[values != 0])
    magnitudes = magnitudes[:: max(1, magnitudes.size // N_FITTED)].astype(np.float64)
    if not magnitudes.size:
        return None
    logs = np.log(magnitudes)
    peak = logs.max()
    logs -= peak
    mean, low, high = logs.mean(), math.log(SHAPE_MIN), math.log(SHAPE_MAX)
    for _ in range(40):
        shape = math.exp((low + high) / 2)
        powers = np.exp(shape * logs)
        rising = float((powers * logs).sum() / powers.sum()) - 1 / shape - mean
        low, high = ((low + high) / 2, high) if rising < 0 else (low, (low + high) / 2)
    shape = math.exp((low + high) / 2)
    scale = math.exp(peak + math.log(float(np.exp(shape * logs).mean())) / shape)
    return DoubleWeibull(shape, max(scale, 2.0**-149))
