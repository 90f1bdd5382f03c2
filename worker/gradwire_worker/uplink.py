"""What a push is made of on its way to frames: transform, residual memory, quantiser, and the budget that they keep."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.model.tensor_fit import TensorFit
from gradwire_common.errors import UsageError
from gradwire_common.layout.manifest import Layout, Unit
from gradwire_common.methods.budget import BudgetEncoder
from gradwire_common.methods.coefficients import to_coefficients
from gradwire_common.methods.method import BITS_MAX, Method
from gradwire_common.methods.residual import ResidualMemory
from gradwire_common.methods.update import EncodeReport, UpdateEncoder, add_update
from gradwire_common.transport.transfer import frames_budget, most_useful, transfer_bytes
from gradwire_common.units import AUTO
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_worker.compute.flat_model import FlatModel
from gradwire_worker.session.budget import push_budget

F32 = npt.NDArray[np.float32]


class Uplink:
    """Codes what stands in `entries`, which the caller fills for every push: prepare, then encode.

    Attributes:
        method: how pushes are coded.
        entries: (n_parameters + n_buffers,) float32: a gradient and buffers; after `prepare` u and the same buffers.
        memory: what quantising lost, in the transform's domain.
    """

    def __init__(self, flat: FlatModel, method: Method):
        self.method = method
        self.layout: Layout = flat.layout
        self.entries: F32 = flat.new_vector(self.layout.n_parameters + self.layout.n_buffers)
        self.memory = ResidualMemory(flat.new_vector(self.layout.n_parameters), method.gamma)
        self._encoder = UpdateEncoder(self.layout, method)
        self._spender = BudgetEncoder(self._encoder)
        self._computed = math.inf  # seconds, of the step before

    @property
    def u(self) -> F32:
        """The part of `entries` that the residual belongs to, (n_parameters,)."""
        return self.entries[: self.layout.n_parameters]

    @property
    def buffers(self) -> F32:
        """The part of `entries` that holds the buffers, (n_buffers,)."""
        return self.entries[self.layout.n_parameters :]

    @property
    def step_size(self) -> float:
        """The common step size that the next push begins its search from."""
        return self._encoder.step

    @step_size.setter
    def step_size(self, step: float) -> None:
        self._encoder.step = step

    @property
    def overhead(self) -> float:
        """What the next budget expects of the prediction: see BudgetEncoder."""
        return self._spender.overhead

    @overhead.setter
    def overhead(self, overhead: float) -> None:
        self._spender.overhead = overhead

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

    def recall(self, frames: bytes, *, with_buffers: bool) -> None:
        """Write u of the newest push to `entries` again: what its `frames` hold, and what they lost."""
        self.entries[:] = 0
        add_update(frames, self.layout.pushed(with_buffers), 1.0, self.entries)
        np.add(self.u, self.memory.values, out=self.u)

    def prepare(self) -> None:
        """Turn the gradient in `entries` into u: coefficients, to which the residual is added."""
        to_coefficients(self.entries, self.layout, self.method.transform)
        self.memory.add_to(self.u)

    def encode_unit(self, unit: Unit, residual: F32, report: EncodeReport) -> bytes:
        """Return the frame of one unit of u. As `UpdateEncoder.encode_unit`."""
        return self._encoder.encode_unit(self.entries, unit, residual, report)

    def encode_buffers(self, report: EncodeReport) -> Iterator[bytes]:
        """Yield the frames of the buffers in `entries`."""
        return self._encoder.encode_buffers(self.entries, report)

    def plan(self, fits: Sequence[TensorFit]) -> None:
        """Choose the common step size of the next push by the `fits` of u."""
        self._encoder.plan(fits)

    def encode(self, budget: int, chunk_bytes: int, report: EncodeReport, *, with_buffers: bool) -> Iterator[bytes]:
        """Yield the frames of u; whole ones that fit the budget, where there is any. The residual is what they lose.

        Raises:
            NonFiniteError: an entry is not finite; names its tensor. Before the first frame, the residual as it was.
        """
        residual = self.memory.values
        if not budget:
            bits = BITS_MAX if self.method.auto else None
            return self._encoder.encode(self.entries, residual, with_buffers=with_buffers, report=report, bits=bits)
        room = frames_budget(budget, chunk_bytes)
        frames = self._spender.encode(self.entries, residual, room, with_buffers=with_buffers, report=report)
        return iter([b"".join(frames)])  # as one piece, which makes the fewest chunks: the budget counts them so
