"""Tensors as rows of blocks, of each of which the same number of entries is sent.

A matrix is cut in blocks of h x w, each side the largest divisor up to SIDE, a vector in segments likewise; a tensor of
more dimensions is a matrix of its first and all others. Source: the public code of DeMo (Peng, Quesnelle, Kingma, 2024)
and of SparseLoCo (Sarfi et al., 2025).
"""

import math
from dataclasses import dataclass

from gradwire_common.methods.method import F32

SIDE = 64  # most entries of a block's side


@dataclass(frozen=True, slots=True)
class Blocks:
    """How a tensor is cut: `down` x `across` blocks of `height` x `width`. A vector has height 1."""

    down: int
    height: int
    across: int
    width: int

    @property
    def length(self) -> int:
        """Entries of a block."""
        return self.height * self.width

    @property
    def n_blocks(self) -> int:
        """Blocks of the tensor."""
        return self.down * self.across

    def split(self, entries: F32) -> F32:
        """Return the blocks of a tensor's entries, (n,), as rows, (n_blocks, length): a copy unless they lie so."""
        cut = entries.reshape(self.down, self.height, self.across, self.width)
        return cut.transpose(0, 2, 1, 3).reshape(self.n_blocks, self.length)

    def join(self, rows: F32) -> F32:
        """Return the entries, (n,), of blocks as rows."""
        cut = rows.reshape(self.down, self.across, self.height, self.width)
        return cut.transpose(0, 2, 1, 3).reshape(-1)


def blocks_of(shape: tuple[int, ...]) -> Blocks:
    """Return how a tensor of `shape`, which has entries, is cut in blocks of up to SIDE x SIDE."""
    if len(shape) < 2:
        height, rest = 1, math.prod(shape)
        width = largest_divisor(rest)
        return Blocks(1, height, rest // width, width)
    rest = math.prod(shape[1:])
    height, width = largest_divisor(shape[0]), largest_divisor(rest)
    return Blocks(shape[0] // height, height, rest // width, width)


def flat_blocks(size: int, length: int) -> Blocks:
    """Return how `size` entries are cut in successive blocks of `length`, or of its largest divisor that fits."""
    width = largest_divisor(size, length)
    return Blocks(1, 1, size // width, width)


def largest_divisor(n: int, most: int = SIDE) -> int:
    """Return the largest divisor of `n` that is at most `most`."""
    return next(each for each in range(min(n, most), 0, -1) if n % each == 0)
