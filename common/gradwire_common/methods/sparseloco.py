"""SparseLoCo: of each block of the change that local steps made, the largest magnitudes, by four levels a tensor.

Meant for local steps (30 of AdamW), a residual memory of decay 0.95, the server's SGD with rate 1 and no momentum, and
the aggregation `senders_mean`. Source: Sarfi, Therien, Lidin, Belilovsky, "Communication Efficient LLM Pre-training
with SparseLoCo", 2025, and its public code.
"""

from typing import ClassVar

from pydantic import Field

from gradwire_common.layout.manifest import Layout, TensorSpec
from gradwire_common.methods.sparse.blocks import SIDE, Blocks, blocks_of
from gradwire_common.methods.sparse.method import Sparse

BLOCK = SIDE * SIDE  # entries of a whole block, of which `k` are sent
INDEX_BITS, VALUE_BITS = 12, 2  # as its authors count


class SparseLoCo(Sparse):
    """Sends the `k` largest of each 4,096 entries.

    Attributes:
        k: of a block of 64 x 64; of smaller ones in proportion, one at least.
        gamma: decay of the residual memory.
        levels: of a tensor's values, by the statistical quantiser.
    """

    label: ClassVar[str] = "sparseloco"
    number: ClassVar[int] = 0x62

    gamma: float = Field(0.95, ge=0.0, le=1.0)
    k: int = Field(64, ge=1, le=BLOCK)
    levels: int = Field(4, ge=2, le=256)

    @property
    def n_levels(self) -> int:
        """Levels of a tensor's values."""
        return self.levels

    def blocks(self, spec: TensorSpec) -> Blocks:
        """Return the blocks of a tensor, each side its largest divisor up to 64."""
        return blocks_of(spec.shape)

    def kept(self, blocks: Blocks) -> int:
        """Return how many entries of a block are sent."""
        return max(1, round(blocks.length * self.k / BLOCK))

    def authors_bits(self, layout: Layout) -> float:
        """Return 12 bits for every position and 2 for every value."""
        return self.n_kept(layout) * (INDEX_BITS + VALUE_BITS)
