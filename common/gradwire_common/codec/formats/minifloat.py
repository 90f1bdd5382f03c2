"""Scaled small floating-point grids: float8 1-5-2, float8 1-4-3 and float4 1-2-1, without infinities and without -0.

Source of the formats: Chen, Hernandez, Huang, Rini, ICC 2022 (arXiv 2111.07599), section IV; the scale that minimises
the mean square error under the fit: CO3 (arXiv 2204.08211), section III.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import special

from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.errors import UsageError

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

SCALE_MAX = 2.0**126  # the largest scale whose inverse is a normal float32


@dataclass(frozen=True, slots=True)
class MinifloatFormat:
    """A sign bit, `exponent_bits` and `mantissa_bits`; the largest exponent is left out, subnormals are in.

    Attributes:
        name: Name in configurations.
        exponent_bits: Bits of the exponent field e; 0 is subnormal, 2**exponent_bits - 1 unused.
        mantissa_bits: Bits of the fraction f.
        bias: A normal magnitude is (1 + f / 2**mantissa_bits) * 2**(e - bias).
    """

    name: str
    exponent_bits: int
    mantissa_bits: int
    bias: int

    @property
    def n_positive(self) -> int:
        """Number of positive levels; there are 2 * n_positive + 1 in all."""
        return ((1 << self.exponent_bits) - 1 << self.mantissa_bits) - 1

    @property
    def magnitudes(self) -> F64:
        """The levels >= 0 at scale 1, ascending, float64 of shape (n_positive + 1,); every one is a float32 number."""
        exponent, fraction = np.divmod(np.arange(self.n_positive + 1), 1 << self.mantissa_bits)
        normal = exponent > 0
        significand = normal + fraction / (1 << self.mantissa_bits)
        return np.asarray(np.ldexp(significand, np.maximum(exponent, 1) - self.bias))

    @property
    def borders(self) -> F64:
        """The midpoints between successive `magnitudes`, float64 of shape (n_positive,); exact."""
        return (self.magnitudes[:-1] + self.magnitudes[1:]) / 2


FLOAT8_1_5_2 = MinifloatFormat("float8-1-5-2", exponent_bits=5, mantissa_bits=2, bias=15)
FLOAT8_1_4_3 = MinifloatFormat("float8-1-4-3", exponent_bits=4, mantissa_bits=3, bias=10)
FLOAT4_1_2_1 = MinifloatFormat("float4-1-2-1", exponent_bits=2, mantissa_bits=1, bias=1)
FORMATS = {form.name: form for form in (FLOAT8_1_5_2, FLOAT8_1_4_3, FLOAT4_1_2_1)}


@dataclass(frozen=True, slots=True)
class Minifloat:
    """The levels of `form` divided by `scale`. A symbol is the index of a level, ascending; level 0 is `n_positive`.

    Rounding is float32 arithmetic, then exact:

        y = x * scale;   symbol = index of the level of `form` nearest to y, a tie to the even magnitude index

    Entries beyond the outermost level saturate there; the residual carries the rest. -0 becomes 0.

    Attributes:
        form: The grid at scale 1.
        scale: Grid units in a gradient unit, a float32 number; rounded to float32 at birth. At most SCALE_MAX, and at
            least what keeps the outermost level finite.
    """

    form: MinifloatFormat
    scale: float

    def __post_init__(self) -> None:
        low, high = scale_limits(self.form)
        if not low <= self.scale <= high:
            raise UsageError(f"{self.form.name} scale is {self.scale}, want a number from {low} to {high}")
        object.__setattr__(self, "scale", float(np.float32(self.scale)))

    @property
    def name(self) -> str:
        """Name in configurations."""
        return self.form.name

    @property
    def levels(self) -> F32:
        """Levels in gradient units, ascending, float32 of shape (L,): float32(level at scale 1) / float32(scale)."""
        half = self.form.magnitudes.astype(np.float32) / np.float32(self.scale)
        return np.concatenate([-half[:0:-1], half])

    @property
    def thresholds(self) -> F64:
        """Decision borders in gradient units, ascending, float64 of shape (L - 1,)."""
        half = self.form.borders / self.scale
        return np.concatenate([-half[::-1], half])

    def quantize(self, x: F32) -> npt.NDArray[np.uint8]:
        """Return the symbol of each entry of finite `x`, uint8, in the shape of `x`."""
        with np.errstate(over="ignore", under="ignore"):
            scaled = np.asarray(x, np.float32) * np.float32(self.scale)
        magnitudes, borders = np.abs(scaled).astype(np.float64), self.form.borders
        index = np.searchsorted(borders, magnitudes, side="left")  # a tie goes down ...
        tied = borders[np.minimum(index, borders.size - 1)] == magnitudes
        index += tied & (index % 2 == 1)  # ... or up, where that is even
        return np.asarray(self.form.n_positive + np.where(scaled < 0, -index, index), np.uint8)

    def dequantize(self, symbols: npt.NDArray[np.uint8]) -> F32:
        """Return the level of each symbol, float32."""
        return self.levels[symbols]

    def cell_probabilities(self, model: GenNorm) -> F64:
        """Return the probability of each symbol under `model`, float64 of shape (L,); symmetric, sums to 1."""
        borders = self.form.borders / self.scale
        inside, outside = model.inside(borders), 2 * model.survival(borders)
        rings = np.where(inside[:-1] < 0.5, inside[1:] - inside[:-1], outside[:-1] - outside[1:]) / 2
        half = np.append(rings, outside[-1] / 2)
        return np.concatenate([half[::-1], inside[:1], half])


@lru_cache(maxsize=16)
def scale_limits(form: MinifloatFormat) -> tuple[float, float]:
    """Return the least and the largest scale of `form`: the outermost level stays finite, 1 / scale normal."""
    outermost = float(form.magnitudes[-1])
    return max(2.0**-126, outermost * 2.0**-127), SCALE_MAX


def grid_distortion(form: MinifloatFormat, beta: float, scales: npt.ArrayLike) -> F64:
    """Return the mean square error of `form` at each of `scales` on a GenNorm of shape `beta` and alpha 1.

    Exact, from partial moments: over (s, t) the integral of x**m p(x) is
    (P((m + 1) / beta, t**beta) - P((m + 1) / beta, s**beta)) Gamma((m + 1) / beta) / Gamma(1 / beta) for the magnitude.

    Args:
        form: The grid.
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
def optimal_scale(form: MinifloatFormat, beta: float) -> float:
    """Return the scale of least mean square error on a GenNorm of shape `beta` and alpha 1.

    Args:
        form: The grid.
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
