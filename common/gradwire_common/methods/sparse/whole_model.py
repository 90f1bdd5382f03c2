"""The largest entries of the whole model, wherever they are: every tensor's frame says how many it has."""

from abc import abstractmethod

import numpy as np

from gradwire_common.layout.manifest import Layout, TensorSpec, Unit
from gradwire_common.methods.method import F32
from gradwire_common.methods.published import PublishedEncoder
from gradwire_common.methods.sparse.blocks import Blocks
from gradwire_common.methods.sparse.frame import U8, Sent, build_body, read_body
from gradwire_common.methods.sparse.levels import quantize
from gradwire_common.methods.sparse.method import Sparse, scatter
from gradwire_common.methods.tensors import tensors_of


class WholeModel(Sparse):
    """Sends the largest `share` of the model's entries; each tensor is one block."""

    @property
    @abstractmethod
    def share(self) -> float:
        """Of the entries, those that are sent; above 0."""

    def blocks(self, spec: TensorSpec) -> Blocks:
        """Return a tensor as one block."""
        return Blocks(1, 1, 1, spec.size)

    def kept(self, blocks: Blocks) -> int:
        """Return how many entries of a block would be sent were all tensors alike, one at least."""
        return max(1, round(self.share * blocks.length))

    def bins(self, values: F32, n_levels: int) -> tuple[U8, F32]:
        """Return each value's bin, and what the bins are decoded as: the statistical quantiser."""
        return quantize(values, n_levels)

    def encoder(self, layout: Layout, memory: F32 | None = None) -> PublishedEncoder:
        """Return an encoder of updates of `layout`."""
        return WholeModelEncoder(self, layout, memory)

    def pack_above(self, u: F32, unit: Unit, border: float, decoded: F32) -> bytes:
        """Return the body of the frame of a unit's entries of magnitudes from `border` on, as `pack` does."""
        tensors = []
        for spec, place in tensors_of(unit):
            entries = u[place]
            places = np.flatnonzero(np.abs(entries) >= border)
            tensors.append(Sent(self.blocks(spec), np.array([places.size]), places, entries[places]))
        body, values = build_body(tensors, self.n_levels, counted=True, bins_of=self.bins)
        scatter(tensors, values, unit, decoded)
        return body

    def read(self, body: memoryview, unit: Unit, out: F32) -> None:
        """Write the entries that are sent, and zeros. Raises BitstreamError."""
        tensors = read_body(body, [self.blocks(spec) for spec, _ in tensors_of(unit)], None, self.n_levels)
        scatter(tensors, [sent.values for sent in tensors], unit, out)


class WholeModelEncoder(PublishedEncoder):
    """Finds the magnitude from which on an update's entries are sent; equal ones are sent all."""

    method: WholeModel

    def begin(self, values: F32) -> None:
        """Find it. An update of zeros sends nothing."""
        n = self.layout.n_parameters
        k = max(1, round(self.method.share * n))
        magnitudes = np.abs(values[:n])
        self._border = max(float(np.partition(magnitudes, n - k)[n - k]), float(np.finfo(np.float32).tiny))

    def pack(self, u: F32, unit: Unit, decoded: F32) -> bytes:
        """Return the body of one unit's frame."""
        return self.method.pack_above(u, unit, self._border, decoded)
