"""A worker's place in a run: joined, its replica kept up to date and its heart beating by two threads of their own."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

import grpc
import numpy as np
import numpy.typing as npt

from gradwire_common.errors import DataError, GradwireError, JoinError, RunEndedError
from gradwire_common.foreign_text import MAX_REASON, printable
from gradwire_common.methods.update import encode_exact
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_worker import interrupts
from gradwire_worker.session.client import Client
from gradwire_worker.session.notice import Notice
from gradwire_worker.session.pending import PendingPush
from gradwire_worker.session.replica import NO_VERSION, Heading, Replica, UpdateKind

F32 = npt.NDArray[np.float32]

STOP_SECONDS = 5.0  # for a thread to end once the worker has left; what it applies by then may be large

_KINDS = {
    pb.UPDATE_KIND_SNAPSHOT: UpdateKind.SNAPSHOT,
    pb.UPDATE_KIND_CHANGE: UpdateKind.CHANGE,
    pb.UPDATE_KIND_WEIGHTS: UpdateKind.WEIGHTS,
}


class Membership:
    """Joins, gives or takes the first weights, follows the versions, and leaves.

    Attributes:
        replica: written by the watching thread; read it under `held`.
        process: that joined; in others, forked from it, nothing of this works.
        left: why this worker left the run; empty while it has not.
    """

    def __init__(self, client: Client, replica: Replica):
        self.client = client
        self.replica = replica
        self.process = os.getpid()
        self.left = ""
        self._failure: BaseException | None = None
        self._weights_wanted = False
        self._left = threading.Event()
        self._changed = threading.Condition()
        self._watch_call: grpc.Call | None = None
        self._threads: list[threading.Thread] = []
        client.on_rejoin = self._check_rejoin

    def enter(self, initial_weights: Callable[[], F32]) -> pb.JoinReply:
        """Join and wait for the first weights, or upload `initial_weights()` where the server has none.

        Raises:
            GradwireError: why the worker cannot take part.
        """
        reply = self.client.join()
        self._weights_wanted = reply.weights_wanted
        try:
            self._start_thread("gradwire-heartbeat", self._beat)
            if self._weights_wanted:
                self._upload(initial_weights())
            self._start_thread("gradwire-watch", self._follow)
            self._wait(lambda: self.replica.version != NO_VERSION or self._weights_wanted)
            if self.replica.version == NO_VERSION and self.client.end is None:
                self._upload(initial_weights())
                self._wait(lambda: self.replica.version != NO_VERSION)
            if self.replica.version == NO_VERSION:
                raise self.run_ended()
        except BaseException as error:
            self.leave(f"could not begin: {error}")
            raise
        return reply

    def wait_for(self, version: int) -> None:
        """Wait until the replica holds `version` or a later one, or the run has ended.

        Raises:
            GradwireError: what keeps further updates from coming.
        """
        self._wait(lambda: self.replica.version >= version)

    def wait_for_the_end(self) -> None:
        """Wait until the replica holds the run's last version, or nothing further comes."""
        rounds = self.client.reply.rounds
        with self._changed:
            self._wait_or_end(lambda: 0 < rounds <= self.replica.version)

    @contextlib.contextmanager
    def held(self) -> Iterator[Replica]:
        """Keep the replica as it is while the caller reads it: whole, unless nothing further comes."""
        with self._changed:
            self._wait_or_end(lambda: self.replica.version != NO_VERSION)
            yield self.replica

    @property
    def ended(self) -> bool:
        """Whether no further push can count."""
        rounds = self.client.reply.rounds
        return self.client.end is not None or 0 < rounds <= self.replica.version

    def run_ended(self) -> RunEndedError:
        """Return the error for whoever wants to go on all the same."""
        reason = f" ({self.client.end})" if self.client.end else ""
        return RunEndedError(
            f"run {self.client.reply.run!r} ended at version {self.replica.base}{reason}; "
            "want no further step once optimizer.ended is true"
        )

    def leave(self, reason: str) -> None:
        """Leave the run and stop both threads; nothing happens the second time, or in a process forked from ours."""
        with interrupts.HELD:
            if self._left.is_set() or os.getpid() != self.process:
                return
            self.left = reason or "no reason given"
            self._left.set()
            try:
                self.client.leave(reason)
            finally:
                if self._watch_call is not None:
                    self._watch_call.cancel()
                self.client.close()
                for thread in self._threads:
                    if thread is not threading.current_thread():  # where the last reference was dropped there
                        thread.join(STOP_SECONDS)

    def _upload(self, weights: F32) -> None:
        """Push the first weights; where another worker's count already, the snapshot brings those."""
        self._weights_wanted = False
        push = PendingPush(pb.PUSH_KIND_WEIGHTS, round=0, base_version=0, samples=0, with_buffers=True)
        sending = self.client.push(push)
        for frame in encode_exact(weights, self.client.manifest.layout.units):
            push.append(frame)
        push.close()
        if sending.receipt().verdict == pb.VERDICT_COUNTED:
            with self._changed:
                if self.replica.empty:
                    self.replica.set(weights, 0)

    def _follow(self) -> None:
        """Apply update after update, opening the stream again when it breaks."""
        patience = self.client.patience()
        wrong: DataError | None = None
        while not self.ended:
            have = self.replica.base
            try:
                for message in self.client.watch(None if have == NO_VERSION else have, on_open=self._opened):
                    self._take(message)
                    wrong = None if message.WhichOneof("part") in ("end", "whole") else wrong
                    patience.progress()
            except DataError as error:
                if wrong is not None:
                    raise
                wrong = error
            except GradwireError as error:
                patience.endure(error)

    def _take(self, message: pb.WatchMessage) -> None:
        """Apply what came; only while an update is being applied is the replica written without holding it."""
        match message.WhichOneof("part"):
            case "header":
                self._begin(message.header)
            case "chunk":
                self.replica.add(message.chunk.offset, message.chunk.data)
            case "end":
                self._complete(message.end)
            case "whole":
                self._begin(message.whole.header)
                self.replica.add(0, message.whole.data)
                self._complete(message.whole.end)
            case "run_end":
                self._finish(end=printable(message.run_end.reason, MAX_REASON) or "the run is complete")

    def _begin(self, header: pb.UpdateHeader) -> None:
        with self._changed:
            self.replica.begin(_heading(header))

    def _complete(self, end: pb.UpdateEnd) -> None:
        with self._changed:
            self.replica.finish(end.length, end.digest)
            self._changed.notify_all()

    def _beat(self) -> None:
        """Say that the worker lives, at the interval that the server told."""
        interval = self.client.reply.heartbeat_ms
        while not self._left.wait(interval / 1000):
            reply = self.client.heartbeat()
            interval = reply.heartbeat_ms
            if reply.weights_wanted:
                with self._changed:
                    self._weights_wanted = True
                    self._changed.notify_all()

    def _opened(self, call: grpc.Call) -> None:
        self._watch_call = call
        if self._left.is_set():
            call.cancel()

    def _check_rejoin(self, reply: pb.JoinReply) -> None:
        """Go on with the server that answered a later join, if it still has what this worker has."""
        with self._changed:
            if self.replica.base == NO_VERSION:
                self._weights_wanted = reply.weights_wanted
                self._changed.notify_all()
            elif reply.run_id != self.client.reply.run_id or reply.version < self.replica.base:
                raise JoinError(
                    f"server {self.client.server} came back with version {reply.version} of run {reply.run!r}, want at "
                    f"least {self.replica.base}, which this worker holds: it seems to have begun anew"
                )

    def _wait(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            self._wait_or_end(condition)
            if self._failure is not None and not condition():
                raise self._failure

    def _wait_or_end(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds or nothing further comes; the caller holds the replica."""
        notice = Notice(self._awaited)
        while not self._changed.wait_for(
            lambda: condition() or self._failure is not None or self.client.end is not None, interrupts.POLL_SECONDS
        ):
            interrupts.check()
            notice.look()

    def _awaited(self) -> str:
        """Say what this worker waits for: what the server does, where that told."""
        if self.replica.base == NO_VERSION:
            what = "the first weights"
        else:
            what = f"version {self.replica.base + 1} of server {self.client.server}"
        return f"{what}; the server waits for {self.client.wait}" if self.client.wait else what

    def _start_thread(self, name: str, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            except RunEndedError as error:
                self._finish(end=str(error))
            except BaseException as error:  # handed to the thread that trains
                if not self._left.is_set():
                    self._finish(failure=error)

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _finish(self, *, end: str | None = None, failure: BaseException | None = None) -> None:
        with self._changed:
            self.client.end = self.client.end or end
            self._failure = self._failure or failure
            self._changed.notify_all()


def _heading(header: pb.UpdateHeader) -> Heading:
    if header.kind not in _KINDS:
        raise DataError(f"update of version {header.version} has kind {header.kind}, want 1, 2 or 3")
    return Heading(header.version, _KINDS[header.kind], header.with_buffers)
