"""DiLoCo and MuLoCo at a few bits: every entry of the change that local steps made by the means of its tensor's bins.

Meant for local steps and the server's SGD with Nesterov momentum (`optimizer = "DiLoCo"`); MuLoCo's are of Muon, and
its residual decays. Sources: Douillard et al., "DiLoCo", 2023; Jaghouar et al., "INTELLECT-1", 2024 (8 bits); Therien,
Huang, Rish, Belilovsky, "MuLoCo", 2025 (2 bits, residual).
"""

from typing import ClassVar

import numpy as np
from pydantic import Field

from gradwire_common.errors import BitstreamError
from gradwire_common.layout.manifest import Layout, Unit
from gradwire_common.methods.method import F32, Method
from gradwire_common.methods.published import FLOAT_BITS, Published
from gradwire_common.methods.sparse.frame import build_levels, read_levels
from gradwire_common.methods.sparse.levels import quantize
from gradwire_common.methods.tensors import tensors_of
from gradwire_common.methods.whole import decode_whole, encode_whole


class DiLoCo(Published):
    """Sends every entry by the statistical quantiser of its tensor.

    Attributes:
        bits: of an entry, before its bins are coded at their entropy.
        gamma: decay of the residual memory; DiLoCo has none.
    """

    label: ClassVar[str] = "diloco"
    number: ClassVar[int] = 0x69

    bits: int = Field(2, ge=2, le=8)
    gamma: float = Field(0.0, ge=0.0, le=1.0)

    @property
    def nominal_bits(self) -> float:
        """Bits per entry, before bins are coded."""
        return float(self.bits)

    @property
    def n_bins(self) -> int:
        """Bins of a tensor."""
        return int(2**self.bits)

    def authors_bits(self, layout: Layout) -> float:
        """Return `bits` for every entry, and a float for every bin of a tensor."""
        n_tensors = sum(len(tensors_of(unit)) for unit in layout.parameters)
        return layout.n_parameters * self.bits + FLOAT_BITS * self.n_bins * n_tensors

    def broadcast(self, bits: float | str | None = None) -> Method:
        """Return this method: what comes back is quantised likewise; the entropy method where `bits` are given."""
        return self if bits is None else super().broadcast(bits)

    def pack(self, u: F32, unit: Unit, decoded: F32) -> bytes:
        """Return the used levels of every tensor, then the bins less their middle as a frame of the codec."""
        side, numbers = bytearray(), np.empty(len(unit), np.float32)
        for _, place in tensors_of(unit):
            bins, levels = quantize(u[place], self.n_bins)
            side += build_levels(levels, np.bincount(bins, minlength=self.n_bins) > 0)
            decoded[place] = levels[bins]
            numbers[place] = bins.astype(np.float32) - self.n_bins // 2
        return bytes(side) + encode_whole(numbers)

    def read(self, body: memoryview, unit: Unit, out: F32) -> None:
        """Write the levels of the bins. Raises BitstreamError."""
        tables, start = [], 0
        for _ in tensors_of(unit):
            levels, used, start = read_levels(body, start, self.n_bins)
            table = np.full(self.n_bins, np.nan, np.float32)
            table[used] = levels
            tables.append(table)
        middle = self.n_bins // 2
        bins = (decode_whole(body[start:], len(unit), -middle, middle - 1) + middle).astype(np.intp)
        for (_, place), table in zip(tensors_of(unit), tables, strict=True):
            out[place] = table[bins[place]]
            if not np.isfinite(out[place]).all():
                raise BitstreamError("got bins without a level, or levels that are not finite")

    def __str__(self) -> str:
        return f"{self.label}, {self.bits} bits"


class MuLoCo(DiLoCo):
    """DiLoCo's with a residual memory."""

    label: ClassVar[str] = "muloco"
    number: ClassVar[int] = 0x6A

    gamma: float = Field(0.9, ge=0.0, le=1.0)
