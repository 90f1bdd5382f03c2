"""The replica kept up to date and the heart beating, by two threads; and how others wait for what these bring."""

import contextlib
import threading
from collections.abc import Callable, Iterator

import grpc
import numpy as np
import numpy.typing as npt

from gradwire_common.errors import DataError, GradwireError, JoinError, RunEndedError
from gradwire_common.layout.manifest import Manifest
from gradwire_common.transport.address import Address
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_worker import interrupts
from gradwire_worker.session.client import Client
from gradwire_worker.session.notice import Notice
from gradwire_worker.session.options import SessionOptions
from gradwire_worker.session.replica import NO_VERSION, Replica
from gradwire_worker.session.transfer import Transfer
from gradwire_worker.session.updates import Applied, Ended, Updates

F32 = npt.NDArray[np.float32]

STOP_SECONDS = 5.0  # for a thread to end once the worker has left; what it applies by then may be large


class Following:
    """Follows a run's versions once its worker has joined.

    Attributes:
        client: the calls to the server.
        show: is given lines for people about weights that travel; called by those who wait for them.
        replica: written by the watching thread; read it under `held`.
        weights_wanted: whether the server asks this worker for the first weights.
    """

    def __init__(
        self,
        server: str | Address,
        manifest: Manifest,
        options: SessionOptions,
        replica: Replica,
        show: Callable[[str], None],
    ):
        self.show = show
        self._transfer: Transfer | None = None  # of a snapshot that is being received
        self.client = Client(server, manifest, options, self._check_rejoin)
        self.replica = replica
        self.weights_wanted = False
        self._failure: BaseException | None = None
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._updates = Updates(replica, self._changed)
        self._watch_call: grpc.Call | None = None
        self._threads: list[threading.Thread] = []

    def beat(self) -> None:
        """Begin to send heartbeats."""
        self._start_thread("gradwire-heartbeat", self._beat)

    def watch(self) -> None:
        """Begin to apply updates."""
        self._start_thread("gradwire-watch", self._follow)

    @property
    def ended(self) -> bool:
        """Whether no further push can count."""
        rounds = self.client.reply.rounds
        return self.client.end is not None or 0 < rounds <= self.replica.version

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds or the run has ended. Raises what keeps further updates from coming."""
        with self._changed:
            self._wait_or_end(condition)
            if self._failure is not None and not condition():
                raise self._failure

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

    def leave(self, reason: str) -> None:
        """Tell the server that the worker leaves, end both threads and close the channel."""
        self._stopping.set()
        try:
            self.client.leave(reason)
        finally:
            self._stop()

    def _stop(self) -> None:
        if self._watch_call is not None:
            self._watch_call.cancel()
        self.client.close()
        for thread in self._threads:
            if thread is not threading.current_thread():  # where the last reference was dropped there
                thread.join(STOP_SECONDS)

    def fill(self, weights: F32) -> None:
        """Take `weights`, (size,), as what the worker has already, so that the server need not send it."""
        with self._changed:
            if self.replica.empty and not self.replica.filled:
                self.replica.fill(weights)

    def hold(self, weights: F32) -> None:
        """Take `weights`, (size,), as version 0, where no other came first."""
        with self._changed:
            if self.replica.empty:
                self.replica.set(weights, 0)

    def _follow(self) -> None:
        """Apply update after update, opening the stream again when it breaks."""
        patience = self.client.patience()
        wrong: DataError | None = None
        while not self.ended:
            try:
                for message in self.client.watch(*self._what_is_held(), on_open=self._opened):
                    done = self._updates.take(message)
                    self._count(message)
                    if isinstance(done, Applied):
                        wrong = None
                        self._wake()
                    elif isinstance(done, Ended):
                        self._finish(end=done.reason)
                    if message.HasField("header"):  # which alone brings nothing
                        self._wake()
                    else:
                        patience.progress()
            except DataError as error:
                if wrong is not None:
                    raise
                wrong = error
            except GradwireError as error:
                patience.retry(error)

    def _what_is_held(self) -> tuple[int | None, bytes]:
        """Return the version held, or the digests of what is held without one."""
        have = self.replica.base
        return (have, b"") if have != NO_VERSION else (None, self.replica.unit_digests())

    def _count(self, message: pb.WatchMessage) -> None:
        """Note how far a snapshot has come."""
        match message.WhichOneof("part"):
            case "header" if message.header.kind == pb.UPDATE_KIND_SNAPSHOT:
                what = f"weights of version {message.header.version} from the server"
                self._transfer = Transfer(what, message.header.length, self.show)
            case "chunk" if self._transfer is not None:
                self._transfer.done += len(message.chunk.data)
            case "end" if self._transfer is not None:
                self._transfer.finish()
                self._transfer = None

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _beat(self) -> None:
        """Say that the worker lives, at the interval that the server told."""
        interval = self.client.reply.heartbeat_ms
        while not self._stopping.wait(interval / 1000):
            reply = self.client.heartbeat()
            interval = reply.heartbeat_ms
            if reply.weights_wanted:
                with self._changed:
                    self.weights_wanted = True
                    self._changed.notify_all()

    def _opened(self, call: grpc.Call) -> None:
        self._watch_call = call
        if self._stopping.is_set():
            call.cancel()

    def _check_rejoin(self, reply: pb.JoinReply) -> None:
        """Go on with the server that answered a later join, if it still has what this worker has."""
        with self._changed:
            if self.replica.base == NO_VERSION:
                self.weights_wanted = reply.weights_wanted
                self._changed.notify_all()
            elif reply.run_id != self.client.reply.run_id or reply.version < self.replica.base:
                raise JoinError(
                    f"server {self.client.server} came back with version {reply.version} of run {reply.run!r}, want at "
                    f"least {self.replica.base}, which this worker holds: it seems to have begun again"
                )

    def _wait_or_end(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds or nothing further comes; the caller holds the replica."""
        notice = Notice(self._awaited)
        while not self._changed.wait_for(
            lambda: condition() or self._failure is not None or self.client.end is not None, interrupts.POLL_SECONDS
        ):
            interrupts.check()
            (self._transfer or notice).look()  # the transfer says what is waited for, and how long it will take

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
                if not self._stopping.is_set():
                    self._finish(failure=error)

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _finish(self, *, end: str | None = None, failure: BaseException | None = None) -> None:
        with self._changed:
            self.client.end = self.client.end or end
            self._failure = self._failure or failure
            self._changed.notify_all()
