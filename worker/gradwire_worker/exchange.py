"""A round as a worker sees it: read the gradients, push them, wait for the others, load the new weights."""

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from gradwire_common.buffers import BufferSchedule
from gradwire_common.update import EncodeReport
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_worker.gradients import FlatModel
from gradwire_worker.loader import Loader
from gradwire_worker.membership import Membership
from gradwire_worker.pending import PendingPush
from gradwire_worker.resuming import OwnCheckpoint
from gradwire_worker.step_report import StepReport, step_times
from gradwire_worker.uplink import Uplink

F32 = npt.NDArray[np.float32]


class Exchange:
    """Takes one round after the other.

    Attributes:
        read: writes what is pushed to its argument; gradients unless there are local steps.
        checkpoint: written before every push can count; None for none.
        last_step: what the last round did; None before the first.
    """

    def __init__(self, flat: FlatModel, member: Membership, uplink: Uplink, loader: Loader, buffers: BufferSchedule):
        self._flat = flat
        self._member = member
        self._uplink = uplink
        self._loader = loader
        self._buffers = buffers
        self.read: Callable[[F32], None] = flat.read_gradients
        self.checkpoint: OwnCheckpoint | None = None
        self.last_step: StepReport | None = None

    def round(self, samples: int, loss: float, compute: float, began: float) -> None:
        """Push the gradients for the next round, wait until it has closed, and load what became of it.

        Args:
            samples: weight of the push in the mean.
            loss: mean training loss, NaN where it is not known.
            compute: seconds that the gradients took.
            began: when they were ready, of time.perf_counter.

        Raises:
            RunEndedError: the run ended without this round.
            GradwireError: as RemoteOptimizer.step says.
        """
        layout, uplink, client = self._flat.layout, self._uplink, self._member.client
        round_ = self._loader.version + 1
        with_buffers = bool(layout.buffers) and self._buffers.due(round_)
        self.read(uplink.entries)
        if with_buffers or (layout.buffers and self.checkpoint is not None):
            self._flat.read_buffers(uplink.entries)
        copied = time.perf_counter()
        uplink.prepare()
        report = EncodeReport()
        budget = uplink.budget(client.limits, client.chunk_bytes, compute, with_buffers=with_buffers)
        frames = uplink.encode(budget, client.chunk_bytes, report, with_buffers=with_buffers)
        first = next(frames)  # what cannot be pushed is refused here, with nothing sent or lost

        transform = uplink.method.transform
        push = PendingPush(pb.PUSH_KIND_GRADIENT, round_, self._loader.version, samples, with_buffers, transform)
        sending = client.push(push)
        counted, weight = False, 1.0
        try:
            push.append(first)
            for frame in frames:
                push.append(frame)
            times = step_times(
                compute=compute,
                copy=copied - began,
                fit=report.fit_seconds,
                encode=report.encode_seconds,
                last=self.last_step,
            )
            if self.checkpoint is not None:
                self.checkpoint.save(push, loss)
            push.close(loss, times, budget)  # from here on it may count
            encoded = time.perf_counter()
            receipt = sending.receipt()
            counted = push.counted(receipt)
            weight = 1.0 if receipt.verdict != pb.VERDICT_LATE else client.reply.late_weight
        finally:
            if not counted:
                sending.cancel()
                uplink.memory.keep(uplink.u, weight)
        received = time.perf_counter()
        self._member.wait_for(round_)
        self.load()
        if self._loader.version < round_:
            raise self._member.run_ended()
        self.last_step = StepReport(
            round=round_,
            version=self._loader.version,
            counted=counted,
            samples=samples,
            loss=loss,
            compute=compute,
            copy=copied - began,
            fit=report.fit_seconds,
            encode=report.encode_seconds,
            send=received - encoded,
            wait=time.perf_counter() - received,
            n_bytes=report.n_bytes,
            wire_bytes=push.wire_bytes,
            bits_per_entry=8 * push.wire_bytes / layout.n_parameters,
            step_size=report.step,
            budget=budget,
        )

    def load(self) -> None:
        """Bring the replica's newest tensors into the model."""
        with self._member.held() as replica:
            self._loader.load(replica)
