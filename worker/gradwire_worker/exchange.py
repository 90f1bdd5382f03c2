"""A round as a worker sees it: read the gradients, push them, wait for the others, load the new weights."""

import logging
import math
import time

from gradwire_common.errors import GradwireError
from gradwire_common.layout.buffers import BufferSchedule
from gradwire_common.methods.method import MAX_ENTRY, EncodeReport
from gradwire_common.methods.silence import Silence
from gradwire_common.step_options import Groups
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_worker import interrupts
from gradwire_worker.checkpoint.resuming import OwnCheckpoint
from gradwire_worker.compute.flat_model import FlatModel
from gradwire_worker.compute.loader import Loader
from gradwire_worker.flight import Flight
from gradwire_worker.session.pending import PendingPush
from gradwire_worker.session.session import Session
from gradwire_worker.sources.frame_source import FrameSource
from gradwire_worker.step_report import StepReport, step_times
from gradwire_worker.uplink import Uplink

log = logging.getLogger("gradwire")


class Exchange:
    """Takes one round after the other.

    Attributes:
        last_step: what the last round did; None before the first. With a delay, that of the step before.
        options: of the parameter groups, that the next pushes carry.
        took: whether what was read in the newest round is in a push or in the residual memory by now.
    """

    def __init__(
        self,
        flat: FlatModel,
        session: Session,
        uplink: Uplink,
        loader: Loader,
        buffers: BufferSchedule,
        source: FrameSource,
        checkpoint: OwnCheckpoint | None,
        *,
        delay: int,
    ):
        """Put the parts together; where there is a `checkpoint`, it is written before every push can count.

        With `delay` 1 a step returns before its round has closed, with the weights of the round before.
        """
        self._flat = flat
        self._session = session
        self._uplink = uplink
        self._loader = loader
        self._buffers = buffers
        self._source = source
        self._checkpoint = checkpoint
        self._delay = delay
        self._flight: Flight | None = None
        self._silence = Silence(
            "nothing but zeros was sent in %d rounds in a row: every entry of the update is zero, so it changes no "
            "weights; are the gradients computed, and not cleared before step()?"
        )
        self.last_step: StepReport | None = None
        self.took = False
        self.options: Groups = ()

    def round(self, samples: int, loss: float, compute: float, began: float) -> None:
        """Push what the source has for the next round, wait until it has closed, and load the version that it made.

        With a delay, wait for the round before, whose push is under way. So does the round after one that was
        interrupted once its push could count.

        Args:
            samples: weight of the push in the mean.
            loss: mean training loss, NaN where it is not known.
            compute: seconds that the gradients took.
            began: when they were ready, of time.perf_counter.

        Raises:
            RunEndedError: the run ended without this round.
            GradwireError: as RemoteOptimizer.step says.
            Interrupted: a signal's handler raised during a wait.
        """
        self.took = False
        before = self._flight
        if before is not None:
            self._receive(before)
        flight = self._push(before, samples, loss, compute, began)
        self._flight = flight
        if self._delay and flight.round != self._session.client.reply.rounds:  # the last one is always waited for
            return
        self._receive(flight)
        self._await(flight)
        self._flight = None

    def resume(self) -> int:
        """Resume from the checkpoint; return the round whose push it repeats, 0 for none."""
        if self._checkpoint is None:
            return 0
        round_, push = self._checkpoint.resume(delay=self._delay)
        if push is not None:
            times = dict.fromkeys(("compute", "copy", "fit", "encode", "step_size"), 0.0)
            known = {**times, "samples": push.samples, "loss": math.nan, "n_bytes": push.n_bytes}
            self._flight = Flight(push, known, self._session.send(push))
        return round_

    def close(self, *, hurry: bool = False) -> None:
        """Wait for the receipt of a push that is under way, so that leaving does not take it back; end the encoding.

        Args:
            hurry: whether a server that does not answer is given up soon, whatever the patience.
        """
        flight, self._flight = self._flight, None
        if hurry:
            self._session.client.hurry()
        try:
            if flight is not None and not flight.received and not self._session.ended:
                self._receive(flight)
        except GradwireError as error:
            log.warning("the push before leaving was given up: %s", error)
        finally:
            self._source.close()

    @property
    def next_round(self) -> int:
        """The round that the next push is for."""
        return self._round_after(self._flight)

    def finish(self) -> bool:
        """Load the newest version, once no further one comes; return whether it is the run's last, and new here."""
        held = self._loader.version
        self._session.wait_for_the_end()
        self._loader.load()
        return held < self._loader.version == self._session.client.reply.rounds

    def _round_after(self, before: Flight | None) -> int:
        """Return the round after that of the push under way, if there is one; a closed one cannot be pushed for."""
        version = self._loader.version
        return (version if before is None else max(version, before.round)) + 1

    def _push(self, before: Flight | None, samples: int, loss: float, compute: float, began: float) -> Flight:
        """Send the push of a step, once the round of the push `before` it, if there is one, has been waited for."""
        layout, uplink, client = self._flat.layout, self._uplink, self._session.client
        base, round_ = self._loader.version, self._round_after(before)
        with_buffers = bool(layout.buffers) and self._buffers.due(round_)
        self._source.gather(uplink.entries)
        if with_buffers or (layout.buffers and self._checkpoint is not None):
            self._flat.read_buffers(uplink.entries)
        copied = time.perf_counter()
        report = EncodeReport(most=MAX_ENTRY)
        budget = uplink.budget(client.limits, client.chunk_bytes, compute, with_buffers=with_buffers)
        frames = self._source.frames(budget, client.chunk_bytes, report, with_buffers=with_buffers)
        first = next(frames)  # what cannot be pushed is refused here, with nothing sent or lost
        self.took = True

        push = PendingPush(
            pb.PUSH_KIND_GRADIENT, round_, base, samples, with_buffers, uplink.method.family, self.options
        )
        flight = Flight(push, {"samples": samples, "loss": loss, "compute": compute, "copy": copied - began})
        try:
            if before is None:
                flight.sending = self._session.send(push)
            push.append(first)
            for frame in frames:
                push.append(frame)
                interrupts.check()
            if before is not None:  # frames go up while the version of the round before comes down
                self._session.wait_for_begin(before.version)
                flight.sending = self._session.send(push)
                self._await(before)
            times = step_times(
                compute=compute,
                copy=copied - began,
                fit=report.fit_seconds,
                encode=report.encode_seconds,
                last=self.last_step,
            )
            if self._checkpoint is not None:
                self._source.settle()
                self._checkpoint.save(push, loss, in_hand=self._delay > 0)
            self._silence.count(report.silent)
            push.close(loss, times, budget)  # from here on it may count
        except BaseException:
            self._give_up(flight)
            raise
        flight.known |= {
            "fit": report.fit_seconds,
            "encode": report.encode_seconds,
            "n_bytes": report.n_bytes,
            "step_size": report.step,
            "budget": budget,
        }
        return flight

    def _receive(self, flight: Flight) -> None:
        """Wait for the receipt of a push, once; what did not count stays in the residual memory.

        An interrupt leaves the push on its way: nobody knows then whether it counts.
        """
        if flight.received:
            return
        asked = time.perf_counter()
        counted, weight = False, 1.0
        try:
            if flight.sending is not None:
                receipt = flight.sending.receipt()
                counted = flight.push.counted(receipt)
                flight.version = receipt.version
                weight = 1.0 if receipt.verdict != pb.VERDICT_LATE else self._session.client.reply.late_weight
        except Exception:
            self._flight = None
            self._take_back(flight)
            raise
        if not counted:
            self._take_back(flight, weight)
        flight.received = True
        flight.known |= {"counted": counted, "send": time.perf_counter() - asked}

    def _take_back(self, flight: Flight, weight: float = 1.0) -> None:
        """Keep `weight` times u of a push that does not count."""
        if self._source.ahead:  # what comes next may have been written over u
            self._source.discard()
            self._uplink.recall(flight.push.frames(), with_buffers=flight.push.with_buffers)
        self._give_up(flight, weight)

    def _give_up(self, flight: Flight, weight: float = 1.0) -> None:
        if flight.sending is not None:
            flight.sending.cancel()
        self._uplink.remember(weight)

    def _await(self, flight: Flight) -> None:
        """Wait until there is the version that the receipt told of, and load the newest."""
        asked = time.perf_counter()
        self._session.wait_for(flight.version)
        self._loader.load()
        if self._loader.version < flight.version:
            raise self._session.run_ended()
        wire_bytes = flight.push.wire_bytes
        self.last_step = StepReport(
            round=flight.round,
            version=self._loader.version,
            wait=time.perf_counter() - asked,
            wire_bytes=wire_bytes,
            bits_per_entry=8 * wire_bytes / self._flat.layout.n_parameters,
            **flight.known,
        )
