"""What a push is made of on its way to frames: the vector that is pushed, its encoder, and the budget that it keeps."""

import math
from collections.abc import Iterator
from typing import cast

import numpy as np
import numpy.typing as npt

from gradwire_common.errors import UsageError
from gradwire_common.layout.manifest import Layout
from gradwire_common.methods.method import EncodeReport, Method
from gradwire_common.methods.update import decode_update, encode_others, encode_update
from gradwire_common.transport.transfer import frames_budget, most_useful, transfer_bytes
from gradwire_common.units import AUTO
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_worker.compute.flat_model import FlatModel
from gradwire_worker.session.budget import push_budget

F32 = npt.NDArray[np.float32]


class Uplink:
    """Encodes what stands in `entries`, which the caller fills for every push.

    Attributes:
        method: how pushes are coded.
        entries: (n_parameters + n_buffers,) float32: a gradient and buffers; after `frames` u and the same buffers.
        encoder: makes the frames; its memory is what earlier pushes lost.
    """

    def __init__(self, flat: FlatModel, method: Method):
        self.method = method
        self.layout: Layout = flat.layout
        self.entries: F32 = flat.compute.new_vector(self.layout.n_parameters + self.layout.n_buffers)
        self.encoder = method.encoder(self.layout, flat.compute.new_vector(self.layout.n_parameters))
        self._computed = math.inf  # seconds, of the step before

    @property
    def memory(self) -> F32:
        """What earlier pushes lost, (n_parameters,), in the method's basis."""
        return cast(F32, self.encoder.memory)  # since it was given one

    @property
    def u(self) -> F32:
        """The part of `entries` that the memory belongs to, (n_parameters,)."""
        return self.entries[: self.layout.n_parameters]

    @property
    def buffers(self) -> F32:
        """The part of `entries` that holds the buffers, (n_buffers,)."""
        return self.entries[self.layout.n_parameters :]

    def check_limits(self, limits: pb.Limits, server: str) -> None:
        """Raise UsageError where bits are to follow from a limit that there is not."""
        if self.method.auto and not limits.share_up:
            raise UsageError(
                f"bits: got {AUTO!r}, but server {server} sets no rate_up; want one, which budgets are made of, or a "
                "number of bits per entry"
            )

    def budget(self, limits: pb.Limits, chunk_bytes: int, compute: float, *, with_buffers: bool) -> int:
        """Return the bytes on the wire that this push may take; 0 where it has no budget.

        Of this step's time to compute and the last one's the shorter counts: one that was held up is no pace.
        """
        idle, self._computed = min(compute, self._computed), compute
        if not self.method.auto:
            return 0
        most = most_useful(self.layout.n_parameters, self.layout.n_buffers if with_buffers else 0)
        return min(push_budget(limits, idle), transfer_bytes(most, chunk_bytes))

    def frames(self, budget: int, chunk_bytes: int, report: EncodeReport, *, with_buffers: bool) -> Iterator[bytes]:
        """Turn what is pushed in `entries` into u; yield its frames, then those of the buffers.

        Args:
            budget: most bytes on the wire, into which whole frames fit; 0 for no limit.
            chunk_bytes: most bytes of a chunk.
            report: filled in.
            with_buffers: whether the buffers are pushed too.

        Raises:
            NonFiniteError: an entry is not finite; names its tensor. Before the first frame, the memory as it was.
            RangeError: an entry is larger than `report` allows; likewise.
            ConfigError: the budget is too small for any push.
        """
        self.encoder.prepare(self.entries)  # in the method's basis, with what the memory holds
        buffers = self.layout.buffers if with_buffers else ()
        left = max(frames_budget(budget, chunk_bytes), 1) if budget else 0
        frames = encode_update(self.encoder, self.entries, report, buffers, stored=self.method.stored, budget=left)
        if budget:  # as one piece, which makes the fewest chunks: the budget counts them so
            frames = iter([b"".join(frames)])
        return frames

    def encode_buffers(self, report: EncodeReport) -> Iterator[bytes]:
        """Yield the frames of the buffers in `entries`."""
        return encode_others(self.entries, report, self.layout.buffers, stored=self.method.stored)

    def recall(self, frames: bytes, *, with_buffers: bool) -> None:
        """Write u of the newest push to `entries` again: what its `frames` hold, and what they lost."""
        decode_update(frames, self.layout.pushed(with_buffers), self.entries, self.method)
        np.add(self.u, self.memory, out=self.u)

    def remember(self, weight: float = 1.0) -> None:
        """Make `weight` times u what the memory holds: nothing of the push that carried it was applied."""
        np.multiply(self.u, np.float32(weight), out=self.memory)
