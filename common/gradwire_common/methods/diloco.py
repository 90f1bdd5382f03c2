"""DiLoCo and MuLoCo at a few bits: every entry of the change that local steps made by the means of its tensor's bins.

Meant for local steps and the server's SGD with Nesterov momentum (`optimizer = "DiLoCo"`); MuLoCo's are of Muon, and
its residual decays. Sources: Douillard et al., "DiLoCo", 2023; Jaghouar et al., "INTELLECT-1", 2024 (8 bits); Therien,
Huang, Rish, Belilovsky, "MuLoCo", 2025 (2 bits, residual).
"""

from typing import ClassVar

from pydantic import Field

from gradwire_common.methods.binned import U8, Binned
from gradwire_common.methods.method import F32, Method
from gradwire_common.methods.sparse.levels import quantize


class DiLoCo(Binned):
    """Sends every entry by the statistical quantiser of its tensor.

    Attributes:
        bits: of an entry, before its bins are coded at their entropy.
        gamma: decay of the residual memory; DiLoCo has none.
    """

    label: ClassVar[str] = "diloco"
    number: ClassVar[int] = 0x69

    bits: int = Field(2, ge=2, le=8)
    gamma: float = Field(0.0, ge=0.0, le=1.0)

    def quantize(self, values: F32) -> tuple[U8, F32]:
        """Return the bins of the statistical quantiser."""
        return quantize(values, self.n_bins)

    def broadcast(self, bits: float | str | None = None) -> Method:
        """Return this method: what comes back is quantised likewise; the entropy method where `bits` are given."""
        return self if bits is None else super().broadcast(bits)


class MuLoCo(DiLoCo):
    """DiLoCo's with a residual memory."""

    label: ClassVar[str] = "muloco"
    number: ClassVar[int] = 0x6A

    gamma: float = Field(0.9, ge=0.0, le=1.0)
