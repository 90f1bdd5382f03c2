"""Formats whose symbols are the bits of a float: float32 itself, which loses nothing, and bfloat16."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.formats.format import N_EXPONENTS, BucketLayout, Quantizer
from gradwire_common.codec.kernels import grids
from gradwire_common.codec.kernels.grids import Grid
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.model.tensor_fit import TensorFit

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

EXPONENT_BIAS = 127
BFLOAT16_MAX_BITS = np.uint32(0x7F7F)  # the largest finite bfloat16, 3.3895e38
_NOTHING, _ZERO, _ONE = np.empty(0, np.float32), np.float32(0), np.float32(1)


@dataclass(frozen=True, eq=False)
class FloatFormat:
    """The bits of a float of float32's exponents. Exponents are coded; signs and significands are not.

    Attributes:
        name: Name in settings.
        number: Number in the header of frames.
        exact: Whether it is float32, of which nothing is lost.
        raw_dtype: The unsigned type of its bits.
        nominal_bits: Bits of an entry.
        buckets: Exponent fields, and all other bits raw.
    """

    name: str
    number: int
    exact: bool
    raw_dtype: str
    nominal_bits: float
    buckets: BucketLayout
    parameter: ClassVar[None] = None
    takes_bits: ClassVar[bool] = False
    needs_fit: ClassVar[bool] = False

    def lower_borders(self, magnitudes: I64) -> F64:
        """Return the least number with each of the exponent fields `magnitudes`."""
        powers = np.ldexp(1.0, np.minimum(magnitudes, N_EXPONENTS) - EXPONENT_BIAS)
        return np.asarray(np.where(magnitudes == 0, 0.0, powers))

    def build(self, parameter: float = 0.0) -> Quantizer:  # noqa: ARG002
        """Return the only quantiser."""
        return Float32() if self.exact else BFloat16()

    def choose(self, fit: TensorFit, step: float) -> Quantizer:  # noqa: ARG002
        """Return the only quantiser."""
        return self.build()


def _exponents(raw_bits: int) -> BucketLayout:
    return BucketLayout(N_EXPONENTS - 1, (raw_bits,), (raw_bits,), signed=False)


LOSSLESS = FloatFormat("lossless", 0, True, "<u4", 32.0, _exponents(24))
BFLOAT16 = FloatFormat("bfloat16", 1, False, "<u2", 16.0, _exponents(8))


class _OfBits:
    """What both quantisers share: no parameter, and a grid of exponents."""

    __slots__ = ()
    format: ClassVar[FloatFormat]
    parameter: ClassVar[float] = 0.0
    unit: ClassVar[float] = 1.0
    dead_zone: ClassVar[float] = 0.0
    largest: ClassVar[float] = float(np.finfo(np.float32).max)
    magnitudes: ClassVar[F32] = _NOTHING
    grid_kind: ClassVar[int]

    def check_symbols(self, symbols: npt.NDArray[np.unsignedinteger]) -> None:
        """Accept any bits; the decoder refuses levels that are not finite."""

    def grid(self, raw_bits: int, origin: int, n_coded: int) -> Grid:
        """Return the quantiser and a bucket layout, as the kernels take them."""
        layout = raw_bits, origin, N_EXPONENTS, n_coded
        return Grid(self.grid_kind, _ONE, _ONE, N_EXPONENTS - 1, _ZERO, _ZERO, 1, 0, *layout)


@dataclass(frozen=True, slots=True)
class Float32(_OfBits):
    """No loss: a symbol is the 32 bits of the entry."""

    format: ClassVar[FloatFormat] = LOSSLESS
    grid_kind: ClassVar[int] = grids.FLOAT32

    def quantize(self, x: F32) -> npt.NDArray[np.uint32]:
        """Return the bits of `x`, uint32, in the shape of `x`."""
        return np.asarray(x, np.float32).view(np.uint32)

    def dequantize(self, symbols: npt.NDArray[np.uint32]) -> F32:
        """Return the entries whose bits are `symbols`, float32."""
        return np.asarray(symbols, np.uint32).view(np.float32)

    def predict(self, model: GenNorm) -> tuple[None, float]:  # noqa: ARG002
        """Return no bits, since none are predicted, and no loss."""
        return None, 0.0


@dataclass(frozen=True, slots=True)
class BFloat16(_OfBits):
    """float32 rounded to the 8 significant bits of bfloat16; a symbol is the upper 16 bits.

    Ties go to even. Finite entries that would round to infinity saturate at the largest finite bfloat16.
    """

    format: ClassVar[FloatFormat] = BFLOAT16
    grid_kind: ClassVar[int] = grids.BFLOAT16

    def quantize(self, x: F32) -> npt.NDArray[np.uint16]:
        """Return the bfloat16 nearest to each entry of finite `x`, as its bits, uint16."""
        bits = np.asarray(x, np.float32).view(np.uint32)
        magnitude = bits & np.uint32(0x7FFFFFFF)
        rounded = (magnitude + np.uint32(0x7FFF) + ((magnitude >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
        sign = (bits >> np.uint32(16)) & np.uint32(0x8000)
        return np.asarray(np.minimum(rounded, BFLOAT16_MAX_BITS) | sign, np.uint16)

    def dequantize(self, symbols: npt.NDArray[np.uint16]) -> F32:
        """Return the bfloat16 values whose bits are `symbols`, float32."""
        return (np.asarray(symbols, np.uint32) << np.uint32(16)).view(np.float32)

    def predict(self, model: GenNorm) -> tuple[None, None]:  # noqa: ARG002
        """Predict neither bits nor loss."""
        return None, None
