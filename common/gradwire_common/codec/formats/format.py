"""What the codec asks of a quantiser: the facts of the format, and the arithmetic of it at one parameter.

Format                                     Quantizer
name, header number, bucket layout   -->   x -> symbols -> levels, grid for the kernels,
build(parameter), choose(fit, step)        predicted bits and NMSE
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.kernels.grids import Grid
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.model.tensor_fit import TensorFit
from gradwire_common.errors import UsageError

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

N_EXPONENTS = 255  # exponent fields of finite float32 numbers: the buckets of a layout without signs


@dataclass(frozen=True, slots=True)
class Parameter:
    """The number that a frame's header holds for its quantiser, as a little-endian float32.

    Attributes:
        name: what it is called in messages.
        low, high: its range, in which it stays a normal float32 number, and so does its inverse.
    """

    name: str
    low: float
    high: float

    def rounded(self, value: float) -> float:
        """Return `value` rounded to float32.

        Raises:
            UsageError: it is not in the range.
        """
        if not self.low <= value <= self.high:
            raise UsageError(f"{self.name} is {value}, want a number from {self.low} to {self.high}")
        return float(np.float32(value))

    def nearest(self, value: float) -> float:
        """Return what is nearest to `value` in the range."""
        return min(max(value, self.low), self.high)


@dataclass(frozen=True, slots=True)
class BucketLayout:
    """How symbols are split in a bucket, which is coded, and raw bits, which are not.

    Attributes:
        largest: largest magnitude of a symbol; where there are no signs, largest exponent field.
        raw_bits: raw bits that a coded frame may have.
        tried_raw_bits: those that are worth trying, the fewest first.
        signed: whether a symbol is a whole number of magnitude and sign, so that buckets without raw bits are 0, +1,
            -1, +2, ... and zeros can be coded in runs. Else it is the bits of a float: a bucket is the exponent field,
            and all other bits are raw.
        any_origin: whether bucket 0 of a layout with raw bits may be another magnitude than zero.
    """

    largest: int
    raw_bits: tuple[int, ...]
    tried_raw_bits: tuple[int, ...]
    signed: bool = True
    any_origin: bool = True

    def width(self, raw_bits: int) -> int:
        """Return how many magnitudes a bucket holds; the sign is one of the raw bits."""
        return 1 << max(raw_bits - 1, 0) if self.signed else 1

    def n_magnitude_buckets(self, raw_bits: int) -> int:
        """Return how many magnitude buckets there are: the modulus of the origin."""
        return self.largest // self.width(raw_bits) + 1


class Quantizer(Hashable, Protocol):
    """A format at one parameter: a frozen, hashable value."""

    @property
    def format(self) -> "Format":
        """The format."""

    @property
    def parameter(self) -> float:
        """What the header holds; 0 where the format has no parameter."""

    @property
    def unit(self) -> float:
        """The unit that codebooks count alpha in, in gradient units."""

    @property
    def dead_zone(self) -> float:
        """A magnitude up to which every entry is quantised to zero, in gradient units."""

    @property
    def largest(self) -> float:
        """The largest magnitude of a level, in gradient units."""

    @property
    def magnitudes(self) -> F32:
        """The levels >= 0 that the kernels look up, ascending, float32; empty where they compute them."""

    def quantize(self, x: F32) -> npt.NDArray[Any]:
        """Return the symbol of each entry of finite `x`, in the shape of `x`."""

    def dequantize(self, symbols: npt.NDArray[Any]) -> F32:
        """Return the level of each symbol, float32."""

    def check_symbols(self, symbols: npt.NDArray[Any]) -> None:
        """Check symbols that were stored uncoded.

        Raises:
            BitstreamError: one of them has no level.
        """

    def grid(self, raw_bits: int, origin: int, n_coded: int) -> Grid:
        """Return the quantiser and a bucket layout of `n_coded` buckets, as the kernels take them."""

    def predict(self, model: GenNorm) -> tuple[float | None, float | None]:
        """Return bits per entry and NMSE expected for entries of `model`; None where it does not tell."""


class Format(Hashable, Protocol):
    """All that is known of one quantiser but its parameter: a frozen, hashable object, of which there is one."""

    @property
    def name(self) -> str:
        """Name in settings and messages."""

    @property
    def number(self) -> int:
        """Number in the header of frames, 0 to 255."""

    @property
    def parameter(self) -> Parameter | None:
        """What the header holds of a quantiser; None where there is one quantiser only."""

    @property
    def takes_bits(self) -> bool:
        """Whether the parameter is a step size, planned for all tensors from the bits per entry that are asked for."""

    @property
    def needs_fit(self) -> bool:
        """Whether the parameter follows from fits of the tensors."""

    @property
    def exact(self) -> bool:
        """Whether nothing is lost, so that there is no residual."""

    @property
    def nominal_bits(self) -> float:
        """Bits per entry of an update, about, where none are asked for."""

    @property
    def raw_dtype(self) -> str:
        """NumPy's name of the type in which symbols are stored uncoded, such as "<i4"."""

    @property
    def buckets(self) -> BucketLayout:
        """How symbols are split."""

    def lower_borders(self, magnitudes: I64) -> F64:
        """Return where the cells of `magnitudes` begin, in units of the quantiser; infinity past the last.

        Args:
            magnitudes: >= 0, ascending from 0; without signs, exponent fields.
        """

    def build(self, parameter: float = 0.0) -> Quantizer:
        """Return the quantiser with `parameter`, which is not looked at where the format has none.

        Raises:
            UsageError: it is not in the parameter's range.
        """

    def choose(self, fit: TensorFit, step: float) -> Quantizer:
        """Return the quantiser for a tensor.

        Args:
            fit: of the tensor.
            step: planned step size in gradient units, which counts where the format takes bits.
        """
