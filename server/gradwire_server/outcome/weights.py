"""The weights that the server trains, and the replica of them that all workers hold."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from isal.isal_zlib import crc32

from gradwire_common.layout.manifest import Layout, Manifest, Role
from gradwire_common.methods.frames import encode_exact
from gradwire_common.methods.method import MAX_ENTRY
from gradwire_common.methods.update import check_finite, decode_update
from gradwire_common.transport.held import unit_digests
from gradwire_server.store.files import write_durably
from gradwire_server.store.tensor_file import write_tensors

F32 = npt.NDArray[np.float32]


class Weights:
    """All tensors of a model as one flat float32 vector, and the workers' replica of its parameters.

    Attributes:
        values: (layout.size,) float32 in layout order, what the optimizer steps.
        replica: (n_parameters,) float32, what every worker holds, bit for bit. Where updates are sent exactly it is
            the first part of `values` itself; else it lags behind by what quantising has lost so far.
    """

    def __init__(self, layout: Layout, *, exact: bool):
        self.layout = layout
        self.exact = exact
        self.values = np.zeros(layout.size, np.float32)
        parameters = self.values[: layout.n_parameters]
        self.replica = parameters if exact else parameters.copy()

    def load(self, data: memoryview) -> None:
        """Take over initial weights, given as float32 frames of all units.

        Raises:
            BitstreamError: a frame is damaged or not of its unit.
            NonFiniteError: a parameter is not finite; names the tensor.
            RangeError: a parameter's magnitude is above MAX_ENTRY; names the tensor.
        """
        decode_update(data, self.layout.units, self.values)
        self._begin()

    def set(self, values: F32) -> None:
        """Take over initial weights, (size,). Raises NonFiniteError and RangeError as `load` does."""
        self.values[:] = values
        self._begin()

    def _begin(self) -> None:
        for unit in self.layout.parameters:
            check_finite(self.values, unit, MAX_ENTRY)
        self.replica[:] = self.values[: self.layout.n_parameters]

    def digest(self) -> int:
        """Return the CRC-32 of the replica, as little-endian float32 in layout order."""
        return crc32(self.replica.astype("<f4", copy=False).data)

    def snapshot(self) -> list[bytes]:
        """Return the frames of all that a worker is to hold: the replica, the buffers, the frozen tensors."""
        others = self.layout.buffers + self.layout.frozen
        return [*encode_exact(self.replica, self.layout.parameters), *encode_exact(self.values, others)]

    def unit_digests(self) -> bytes:
        """Return the digests of all units of a snapshot, in their order."""
        others = self.layout.buffers + self.layout.frozen
        return unit_digests(self.replica, self.layout.parameters) + unit_digests(self.values, others)

    def save(self, path: Path, manifest: Manifest) -> None:
        """Write what the workers hold as safetensors, by the manifest's names, shapes and dtypes.

        Raises:
            OSError: it cannot be written; what was there is as before.
        """
        tensors = []
        for spec in manifest.tensors:
            held = self.replica if spec.role is Role.PARAMETER else self.values
            tensor = torch.from_numpy(held[self.layout.slots[spec.name]].reshape(spec.shape))
            tensors.append((spec.name, tensor, getattr(torch, spec.dtype)))

        write_durably(path, lambda partial: write_tensors(partial, tensors))
