"""Raw float32, the baseline, and bfloat16: quantisers whose symbols are the bits of a float."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]

BFLOAT16_MAX_BITS = np.uint32(0x7F7F)  # the largest finite bfloat16, 3.3895e38


@dataclass(frozen=True, slots=True)
class Float32:
    """No loss: a symbol is the 32 bits of the entry."""

    @property
    def name(self) -> str:
        """Name in configurations."""
        return "float32"

    def quantize(self, x: F32) -> npt.NDArray[np.uint32]:
        """Return the bits of `x`, uint32, in the shape of `x`."""
        return np.asarray(x, np.float32).view(np.uint32)

    def dequantize(self, symbols: npt.NDArray[np.uint32]) -> F32:
        """Return the entries whose bits are `symbols`, float32."""
        return np.asarray(symbols, np.uint32).view(np.float32)


@dataclass(frozen=True, slots=True)
class BFloat16:
    """float32 rounded to the 8 significant bits of bfloat16; a symbol is the upper 16 bits.

    Ties go to even. Finite entries that would round to infinity saturate at the largest finite bfloat16.
    """

    @property
    def name(self) -> str:
        """Name in configurations."""
        return "bfloat16"

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
