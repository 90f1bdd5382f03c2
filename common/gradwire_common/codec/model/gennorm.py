"""The generalized normal distribution (GenNorm): the model of a gradient's entries.

Density: beta / (2 alpha Gamma(1/beta)) exp(-(abs(x) / alpha)**beta). Shape beta 2 is normal, 1 is Laplace; scale
alpha is in gradient units. With a = 1/beta and z = (abs(x) / alpha)**beta, the mass inside (-abs(x), abs(x)) is the
regularized lower incomplete gamma function P(a, z), and the mass outside is Q(a, z) = 1 - P(a, z). Every function below
takes the one of the two that is small, so both the centre and the tails keep their relative accuracy.

Source: Nadarajah, "A generalized normal distribution", J. Appl. Stat. 32(7), 2005.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from gradwire_common.errors import UsageError

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GenNorm:
    """A GenNorm of shape `beta` and scale `alpha`, both positive and finite.

    Attributes:
        beta: Shape; 2 is normal, 1 is Laplace, less is heavier.
        alpha: Scale, in gradient units.
    """

    beta: float
    alpha: float

    def __post_init__(self) -> None:
        for name, got in (("beta", self.beta), ("alpha", self.alpha)):
            if not (math.isfinite(got) and got > 0):
                raise UsageError(f"GenNorm {name} is {got}, want a positive finite number")

    def log_density(self, x: npt.ArrayLike) -> F64:
        """Return the natural logarithm of the density at `x`.

        Args:
            x: Points of any shape, in gradient units.

        Returns:
            float64, in the shape of `x`; -inf at infinity.
        """
        at_zero = math.log(self.beta / 2) - math.log(self.alpha) - math.lgamma(1 / self.beta)
        return np.asarray(at_zero - self._exponent(x))

    def density(self, x: npt.ArrayLike) -> F64:
        """Return the density at `x`, float64, per gradient unit."""
        return np.asarray(np.exp(self.log_density(x)))

    def cdf(self, x: npt.ArrayLike) -> F64:
        """Return the probability of a value at most `x`, float64; relatively exact in the lower tail."""
        return self.survival(-np.asarray(x, np.float64))

    def survival(self, x: npt.ArrayLike) -> F64:
        """Return the probability of a value above `x`, float64; relatively exact in the upper tail."""
        outside = special.gammaincc(1 / self.beta, self._exponent(x)) / 2
        return np.asarray(np.where(np.asarray(x) >= 0, outside, 1 - outside))

    def inside(self, x: npt.ArrayLike) -> F64:
        """Return the probability of a magnitude below abs(x), float64; relatively exact near zero."""
        return np.asarray(special.gammainc(1 / self.beta, self._exponent(x)))

    def quantile(self, p: npt.ArrayLike) -> F64:
        """Return the value that a share `p` of the distribution lies below; inverse of `cdf`.

        Args:
            p: Probabilities in [0, 1], any shape.

        Returns:
            float64 in gradient units, in the shape of `p`; -inf at 0, inf at 1, nan outside [0, 1].
        """
        p = np.asarray(p, np.float64)
        tail = np.minimum(p, 1 - p)
        a = 1 / self.beta
        z = np.where(tail < 0.25, special.gammainccinv(a, 2 * tail), special.gammaincinv(a, 2 * np.abs(p - 0.5)))
        return np.asarray(np.copysign(self.alpha * z**a, p - 0.5))

    @property
    def variance(self) -> float:
        """Mean square, in squared gradient units; inf where it exceeds float64."""
        return self.moment(2)

    @property
    def entropy(self) -> float:
        """Differential entropy in bits; the unit of x is the gradient unit."""
        nats = 1 / self.beta - math.log(self.beta / 2) + math.log(self.alpha) + math.lgamma(1 / self.beta)
        return nats / math.log(2)

    def moment(self, order: float) -> float:
        """Return the mean of abs(x)**order, order > -1; inf where it exceeds float64."""
        log = math.lgamma((order + 1) / self.beta) - math.lgamma(1 / self.beta) + order * math.log(self.alpha)
        return math.exp(log) if log < math.log(np.finfo(np.float64).max) else math.inf

    def moment_inside(self, order: float, x: npt.ArrayLike) -> F64:
        """Return the mean of abs(x)**order where the magnitude is below abs(x), and of 0 elsewhere, float64."""
        return np.asarray(self.moment(order) * special.gammainc((order + 1) / self.beta, self._exponent(x)))

    def sample(self, rng: np.random.Generator, n: int) -> F32:
        """Draw `n` independent entries, float32, as gradients are."""
        magnitudes = self.alpha * rng.standard_gamma(1 / self.beta, n) ** (1 / self.beta)
        signs = rng.integers(0, 2, n, dtype=np.int8) * 2 - 1
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(signs * magnitudes, np.float32)

    def _exponent(self, x: npt.ArrayLike) -> F64:
        """(abs(x) / alpha)**beta, saturating at inf."""
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray((np.abs(np.asarray(x, np.float64)) / self.alpha) ** self.beta)
