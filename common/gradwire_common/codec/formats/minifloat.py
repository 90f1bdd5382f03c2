"""Scaled small floating-point grids: float8 1-5-2, float8 1-4-3 and float4 1-2-1, without infinities and without -0.

Source of the formats: Chen, Hernandez, Huang, Rini, ICC 2022 (arXiv 2111.07599), section IV.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.formats.format import BucketLayout, Parameter
from gradwire_common.codec.formats.grid_scale import choose_scale, grid_distortion
from gradwire_common.codec.kernels import grids
from gradwire_common.codec.kernels.grids import Grid
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.model.tensor_fit import TensorFit
from gradwire_common.errors import BitstreamError

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]

MIN_SCALE, MAX_SCALE = 2.0**-126, 2.0**126  # scale and 1 / scale are normal float32 numbers


@dataclass(frozen=True, eq=False)
class MinifloatFormat:
    """A sign bit, `exponent_bits` and `mantissa_bits`; the largest exponent is left out, subnormals are in.

    Attributes:
        name: Name in settings.
        number: Number in the header of frames.
        exponent_bits: Bits of the exponent field e; 0 is subnormal, 2**exponent_bits - 1 unused.
        mantissa_bits: Bits of the fraction f: 1 to 3.
        bias: A normal magnitude is (1 + f / 2**mantissa_bits) * 2**(e - bias).
    """

    name: str
    number: int
    exponent_bits: int
    mantissa_bits: int
    bias: int
    takes_bits: ClassVar[bool] = False
    needs_fit: ClassVar[bool] = True
    exact: ClassVar[bool] = False
    raw_dtype: ClassVar[str] = "u1"

    @property
    def n_positive(self) -> int:
        """Number of positive levels; there are 2 * n_positive + 1 in all."""
        return ((1 << self.exponent_bits) - 1 << self.mantissa_bits) - 1

    @cached_property
    def magnitudes(self) -> F64:
        """The levels >= 0 at scale 1, ascending, float64 of shape (n_positive + 1,); every one is a float32 number."""
        exponent, fraction = np.divmod(np.arange(self.n_positive + 1), 1 << self.mantissa_bits)
        normal = exponent > 0
        significand = normal + fraction / (1 << self.mantissa_bits)
        return np.asarray(np.ldexp(significand, np.maximum(exponent, 1) - self.bias))

    @cached_property
    def borders(self) -> F64:
        """The midpoints between successive `magnitudes`, float64 of shape (n_positive,); exact."""
        return (self.magnitudes[:-1] + self.magnitudes[1:]) / 2

    @cached_property
    def parameter(self) -> Parameter:
        """The scale: the outermost level stays finite, 1 / scale normal."""
        outermost = float(self.magnitudes[-1])
        return Parameter(f"{self.name} scale", max(MIN_SCALE, outermost * 2.0**-127), MAX_SCALE)

    @cached_property
    def buckets(self) -> BucketLayout:
        """All magnitudes in buckets of their own, or the significand raw, with and without a bit of the exponent."""
        mantissa = self.mantissa_bits
        return BucketLayout(self.n_positive, tuple(range(9)), (0,) if mantissa == 1 else (mantissa, mantissa + 1))

    @property
    def nominal_bits(self) -> float:
        """The bits of sign, exponent and fraction."""
        return 1.0 + self.exponent_bits + self.mantissa_bits

    def lower_borders(self, magnitudes: I64) -> F64:
        """Return the midpoints below `magnitudes`, at scale 1."""
        borders = np.concatenate([[0.0], self.borders, [np.inf]])
        return np.asarray(borders[np.minimum(magnitudes, borders.size - 1)])

    def build(self, parameter: float = 0.0) -> "Minifloat":
        """Return the quantiser at a scale."""
        return Minifloat(self, parameter)

    def choose(self, fit: TensorFit, step: float) -> "Minifloat":  # noqa: ARG002
        """Return the quantiser at the scale of least mean square error."""
        return Minifloat(self, choose_scale(self, fit))


FLOAT8_1_5_2 = MinifloatFormat("float8-1-5-2", 2, exponent_bits=5, mantissa_bits=2, bias=15)
FLOAT8_1_4_3 = MinifloatFormat("float8-1-4-3", 3, exponent_bits=4, mantissa_bits=3, bias=10)
FLOAT4_1_2_1 = MinifloatFormat("float4-1-2-1", 4, exponent_bits=2, mantissa_bits=1, bias=1)
MINIFLOATS = (FLOAT8_1_5_2, FLOAT8_1_4_3, FLOAT4_1_2_1)


@dataclass(frozen=True, slots=True)
class Minifloat:
    """The levels of `format` divided by `scale`. A symbol is the index of a level, ascending; level 0 is `n_positive`.

    Rounding is float32 arithmetic, then exact:

        y = x * scale;   symbol = index of the level of `format` nearest to y, a tie to the even magnitude index

    Entries beyond the outermost level saturate there; the residual carries the rest. -0 becomes 0.

    Attributes:
        format: The grid at scale 1.
        scale: Grid units in a gradient unit, a float32 number in the range of `format.parameter`; rounded to float32
            at birth.
    """

    format: MinifloatFormat
    scale: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", self.format.parameter.rounded(self.scale))

    @property
    def parameter(self) -> float:
        """The scale."""
        return self.scale

    @property
    def unit(self) -> float:
        """What is 1 at scale 1."""
        return 1 / self.scale

    @property
    def dead_zone(self) -> float:
        """The border between zero and the least level, but for rounding."""
        return 0.5 * float(self.format.magnitudes[1]) / self.scale

    @property
    def largest(self) -> float:
        """The outermost level."""
        return float(self.format.magnitudes[-1]) / self.scale

    @property
    def magnitudes(self) -> F32:
        """Levels >= 0 in gradient units, ascending, float32: float32(level at scale 1) / float32(scale)."""
        return self.format.magnitudes.astype(np.float32) / np.float32(self.scale)

    @property
    def levels(self) -> F32:
        """Levels in gradient units, ascending, float32 of shape (L,)."""
        half = self.magnitudes
        return np.concatenate([-half[:0:-1], half])

    @property
    def thresholds(self) -> F64:
        """Decision borders in gradient units, ascending, float64 of shape (L - 1,)."""
        half = self.format.borders / self.scale
        return np.concatenate([-half[::-1], half])

    def quantize(self, x: F32) -> U8:
        """Return the symbol of each entry of finite `x`, uint8, in the shape of `x`."""
        with np.errstate(over="ignore", under="ignore"):
            scaled = np.asarray(x, np.float32) * np.float32(self.scale)
        magnitudes, borders = np.abs(scaled).astype(np.float64), self.format.borders
        index = np.searchsorted(borders, magnitudes, side="left")  # a tie goes down ...
        tied = borders[np.minimum(index, borders.size - 1)] == magnitudes
        index += tied & (index % 2 == 1)  # ... or up, where that is even
        return np.asarray(self.format.n_positive + np.where(scaled < 0, -index, index), np.uint8)

    def dequantize(self, symbols: U8) -> F32:
        """Return the level of each symbol, float32."""
        return self.levels[symbols]

    def check_symbols(self, symbols: U8) -> None:
        """Raise BitstreamError unless all symbols are levels."""
        last = 2 * self.format.n_positive
        if symbols.size and int(symbols.max()) > last:
            raise BitstreamError(f"frame has symbol {int(symbols.max())}, want at most {last}")

    def grid(self, raw_bits: int, origin: int, n_coded: int) -> Grid:
        """Return the quantiser and a bucket layout, as the kernels take them."""
        form = self.format
        shift, spacing = 23 - form.mantissa_bits, 2.0 ** (1 - form.bias - form.mantissa_bits)
        subnormal, rounder = np.float32(2.0 ** (1 - form.bias)), np.float32(spacing * 2**23)
        scale, rebias = np.float32(self.scale), (127 - form.bias) << form.mantissa_bits
        layout = raw_bits, origin, form.buckets.n_magnitude_buckets(raw_bits), n_coded
        return Grid(grids.MINIFLOAT, scale, scale, form.n_positive, subnormal, rounder, shift, rebias, *layout)

    def predict(self, model: GenNorm) -> tuple[float, float]:
        """Return entropy and NMSE for entries of `model`."""
        p = self.cell_probabilities(model)
        p = p[p > 0]
        lost = float(grid_distortion(self.format, model.beta, self.scale * model.alpha)) * model.alpha**2
        return float((p * np.log2(1 / p)).sum()), lost / model.variance

    def cell_probabilities(self, model: GenNorm) -> F64:
        """Return the probability of each symbol under `model`, float64 of shape (L,); symmetric, sums to 1."""
        borders = self.format.borders / self.scale
        inside, outside = model.inside(borders), 2 * model.survival(borders)
        rings = np.where(inside[:-1] < 0.5, inside[1:] - inside[:-1], outside[:-1] - outside[1:]) / 2
        half = np.append(rings, outside[-1] / 2)
        return np.concatenate([half[::-1], inside[:1], half])
