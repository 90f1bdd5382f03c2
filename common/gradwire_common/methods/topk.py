"""Top-k sparsification with a residual memory: the largest entries of the model, of each tensor or of each block.

Source: Stich, Cordonnier, Jaggi, "Sparsified SGD with memory", NeurIPS 2018; Aji, Heafield, EMNLP 2017.
"""

from typing import ClassVar, Literal

from pydantic import Field

from gradwire_common.layout.manifest import Layout, TensorSpec, Unit
from gradwire_common.methods.method import F32
from gradwire_common.methods.published import FLOAT_BITS, PublishedEncoder
from gradwire_common.methods.sparse.blocks import Blocks, flat_blocks
from gradwire_common.methods.sparse.method import Sparse
from gradwire_common.methods.sparse.whole_model import WholeModel

INDEX_BITS = 32  # of a position, as authors count one


class TopK(WholeModel):
    """Sends the largest `density` of the entries.

    Attributes:
        density: of the entries that are sent, above 0.
        scope: what they are the largest of: the whole model, each tensor, or each `block` of successive entries.
        block: entries of a block; a tensor that it does not divide is cut by its largest divisor below.
        levels: of a tensor's values, by the statistical quantiser; 0 sends them as float32.
    """

    label: ClassVar[str] = "topk"
    number: ClassVar[int] = 0x61

    density: float = Field(0.01, gt=0.0, le=1.0)
    scope: Literal["model", "tensor", "block"] = "model"
    block: int = Field(4096, ge=1, le=1 << 24)
    levels: int = Field(16, ge=0, le=256)

    @property
    def share(self) -> float:
        """The density."""
        return self.density

    @property
    def n_levels(self) -> int:
        """Levels of values; a single one is none."""
        return self.levels if self.levels > 1 else 0

    def blocks(self, spec: TensorSpec) -> Blocks:
        """Return a tensor as one block, or cut in blocks of successive entries."""
        return flat_blocks(spec.size, self.block) if self.scope == "block" else super().blocks(spec)

    def authors_bits(self, layout: Layout) -> float:
        """Return 32 bits for every position, and as many for every value."""
        n = round(self.density * layout.n_parameters) if self.scope == "model" else self.n_kept(layout)
        return max(n, 1) * (INDEX_BITS + FLOAT_BITS)

    def encoder(self, layout: Layout, memory: F32 | None = None) -> PublishedEncoder:
        """Return an encoder of updates of `layout`."""
        return super().encoder(layout, memory) if self.scope == "model" else PublishedEncoder(self, layout, memory)

    def read(self, body: memoryview, unit: Unit, out: F32) -> None:
        """Write the entries that are sent, and zeros. Raises BitstreamError."""
        if self.scope == "model":
            super().read(body, unit, out)
        else:
            Sparse.read(self, body, unit, out)
