"""What sparse methods have in common: the largest entries of every block, few levels for their values."""

import math
from abc import abstractmethod

import numpy as np

from gradwire_common.layout.manifest import Layout, TensorSpec, Unit
from gradwire_common.methods.method import F32
from gradwire_common.methods.published import Published
from gradwire_common.methods.sparse.blocks import Blocks
from gradwire_common.methods.sparse.frame import Sent, build_body, read_body
from gradwire_common.methods.sparse.selection import largest_of_rows
from gradwire_common.methods.tensors import tensors_of


class Sparse(Published):
    """Sends the `kept` largest magnitudes of every block of a tensor."""

    @abstractmethod
    def blocks(self, spec: TensorSpec) -> Blocks:
        """Return how a tensor, which has entries, is cut."""

    @abstractmethod
    def kept(self, blocks: Blocks) -> int:
        """Return how many entries of each block are sent, 1 to its length."""

    @property
    @abstractmethod
    def n_levels(self) -> int:
        """Levels of a tensor's values, 2 to 256; 0 where values are sent as they are."""

    @property
    def nominal_bits(self) -> float:
        """Bits per entry where tensors are cut in whole blocks, with values that use all levels."""
        cut = self.blocks(TensorSpec("large", (4096, 4096)))
        k, n = self.kept(cut), cut.length
        value_bits = math.log2(self.n_levels) if self.n_levels else 32
        return (subset_bits(n, k) + k * value_bits) / n

    def n_kept(self, layout: Layout) -> int:
        """Return how many entries of an update of `layout` are sent."""
        cuts = [self.blocks(spec) for unit in layout.parameters for spec in unit.tensors if spec.size]
        return sum(cut.n_blocks * self.kept(cut) for cut in cuts)

    def pack(self, u: F32, unit: Unit, decoded: F32) -> bytes:
        """Return the body that `build_body` makes of the largest entries."""
        tensors = []
        for spec, place in tensors_of(unit):
            cut = self.blocks(spec)
            rows, k = cut.split(u[place]), self.kept(cut)
            places = largest_of_rows(rows, k)
            values = np.take_along_axis(rows, places, 1).reshape(-1)
            tensors.append(Sent(cut, np.full(cut.n_blocks, k, np.int64), places.reshape(-1), values))
        body, values_of = build_body(tensors, self.n_levels, counted=False)
        scatter(tensors, values_of, unit, decoded)
        return body

    def read(self, body: memoryview, unit: Unit, out: F32) -> None:
        """Write the entries that are sent, and zeros. Raises BitstreamError."""
        cuts = [self.blocks(spec) for spec, _ in tensors_of(unit)]
        tensors = read_body(body, cuts, [self.kept(cut) for cut in cuts], self.n_levels)
        scatter(tensors, [sent.values for sent in tensors], unit, out)


def scatter(tensors: list[Sent], values: list[F32], unit: Unit, out: F32) -> None:
    """Write each tensor's entries, (len(unit),), that are `values` where they are sent, and else 0."""
    for (_, place), sent, some in zip(tensors_of(unit), tensors, values, strict=True):
        out[place] = sent.scatter(some)


def subset_bits(n: int, k: int) -> float:
    """Return log2 of the number of ways to choose `k` of `n`."""
    return (math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)) / math.log(2)
