"""DeMo: of a decaying momentum's DCT in blocks the largest coefficients; the mean of what was sent steps by its signs.

Meant for a gradient a push, the aggregation `senders_mean` and the server's SGD without momentum, with the weight decay
wanted. Source: Peng, Quesnelle, Kingma, "DeMo: decoupled momentum optimization", 2024, and its public code.
"""

from typing import ClassVar

import numpy as np
from pydantic import Field
from scipy.fft import dctn, idctn

from gradwire_common.layout.manifest import Layout, TensorSpec, Unit
from gradwire_common.methods.method import F32
from gradwire_common.methods.published import PublishedEncoder
from gradwire_common.methods.sparse.blocks import SIDE, Blocks, blocks_of
from gradwire_common.methods.sparse.method import Sparse
from gradwire_common.methods.tensors import tensors_of

BLOCK = SIDE * SIDE
INDEX_BITS, VALUE_BITS = 64, 32  # as its published code sends them


class DeMo(Sparse):
    """Sends the `k` largest coefficients of each 4,096.

    Attributes:
        k: of a block of 64 x 64; of smaller ones in proportion, one at least.
        gamma: decay of the momentum, which is the residual memory, in coefficients.
        levels: of a tensor's coefficients; 0 sends them as float32.
        sign: whether a round's mean is turned into its signs, as its authors step by.
    """

    label: ClassVar[str] = "demo"
    number: ClassVar[int] = 0x66

    gamma: float = Field(0.999, ge=0.0, le=1.0)
    k: int = Field(32, ge=1, le=BLOCK)
    levels: int = Field(0, ge=0, le=256)
    sign: bool = True

    @property
    def n_levels(self) -> int:
        """Levels of coefficients; a single one is none."""
        return self.levels if self.levels > 1 else 0

    @property
    def basis(self) -> str:
        """Frames are of coefficients."""
        return "coefficients"

    def blocks(self, spec: TensorSpec) -> Blocks:
        """Return the blocks of a tensor, each side its largest divisor up to 64."""
        return blocks_of(spec.shape)

    def kept(self, blocks: Blocks) -> int:
        """Return how many coefficients of a block are sent."""
        return max(1, round(blocks.length * self.k / BLOCK))

    def authors_bits(self, layout: Layout) -> float:
        """Return 64 bits for every position and 32 for every value."""
        return self.n_kept(layout) * (INDEX_BITS + VALUE_BITS)

    def encoder(self, layout: Layout, memory: F32 | None = None) -> PublishedEncoder:
        """Return an encoder of updates of `layout`."""
        return DeMoEncoder(self, layout, memory)

    def invert(self, total: F32, layout: Layout) -> None:
        """Bring a mean of coefficients back to entries, and take their signs."""
        transform(total, layout, forward=False)
        if self.sign:
            np.sign(total[: layout.n_parameters], out=total[: layout.n_parameters])


class DeMoEncoder(PublishedEncoder):
    """Turns updates into coefficients, in which the memory is kept."""

    def prepare(self, values: F32, unit: Unit | None = None) -> None:
        """Transform, then add what the memory holds."""
        transform(values, self.layout, forward=True)
        super().prepare(values, unit)


def transform(values: F32, layout: Layout, *, forward: bool) -> None:
    """Replace the parameters' entries by the orthonormal DCT-II of their blocks, or undo that.

    Args:
        values: (n_parameters,) or longer float32, changed in place.
        layout: of the parameters.
        forward: whether entries become coefficients.
    """
    change = dctn if forward else idctn
    for unit in layout.parameters:
        entries = values[unit.place]
        for spec, place in tensors_of(unit):
            cut = blocks_of(spec.shape)
            blocks = cut.split(entries[place]).reshape(cut.n_blocks, cut.height, cut.width)
            entries[place] = cut.join(change(blocks, axes=(1, 2), norm="ortho").astype(np.float32))
