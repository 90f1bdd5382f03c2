"""The worker's calls to the server: typed, repeated after transient errors, under one session at a time."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import grpc

from gradwire_common.errors import GradwireError, SessionError, UnavailableError
from gradwire_common.foreign_text import MAX_TEXT
from gradwire_common.layout.manifest import Manifest
from gradwire_common.metrics import Metric
from gradwire_common.transport import bounds
from gradwire_common.transport.address import Address
from gradwire_common.transport.channel import CALL_BYTES, error_of, wire_bytes
from gradwire_common.transport.wire import metrics_to_messages
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_worker import interrupts
from gradwire_worker.session.connection import CALL_TIMEOUT, LEAVE_TIMEOUT, Connection
from gradwire_worker.session.options import SessionOptions
from gradwire_worker.session.patience import Patience
from gradwire_worker.session.pending import PendingPush
from gradwire_worker.session.requests import Introduction

SLOWEST = 2000  # bytes per second of a link over which a manifest still arrives in time
TURN_SECONDS = 60.0  # that a server may take to answer who asks for its turn
DONE = "done"  # why a worker leaves that has done all that it wanted to

T = TypeVar("T")


class Client(Connection):
    """One worker's calls: a connection, and the session that the last join gave.

    Every method may be called from any thread. A call that fails with a transient error is repeated for `patience`
    seconds; when the server has forgotten the session, the worker joins again under the same id and carries on.

    Attributes:
        reply: the answer to the last join.
        wait: what the server waits for, as last heard; empty where it waits for nobody.
        end: why the run ended, once that is known; pushes are not repeated then.
    """

    def __init__(
        self,
        server: str | Address,
        manifest: Manifest,
        options: SessionOptions,
        on_rejoin: Callable[[pb.JoinReply], None] = lambda _: None,
    ):
        """Open the channel.

        Args:
            server: its address.
            manifest: of the model.
            options: how the worker takes part.
            on_rejoin: called with the answer to every later join; raises if the worker cannot carry on with it.
        """
        super().__init__(server, options)
        self.manifest = manifest
        self.worker_id = options.worker_id
        self.reply = pb.JoinReply()
        self.end: str | None = None
        self.wait = ""
        self._on_rejoin = on_rejoin
        self._introduction = Introduction.of(manifest, options)
        self._joining = threading.Lock()

    def join(self) -> pb.JoinReply:
        """Become a worker of the run.

        Raises:
            JoinError, ModelMismatchError: if the server will not have this worker; says why.
            UnavailableError: if it could not be reached; AddressError if that would never change.
        """
        with interrupts.locked(self._joining):
            self.reply = self._join()
            self._hear(self.reply.limits)
        return self.reply

    def start_push(self, messages: Iterator[pb.PushMessage]) -> Any:
        """Begin to send the messages of a push; return the call, whose answer is a receipt."""
        return self._stub.Push.future(messages)

    def watch(
        self, have_version: int | None, held: bytes = b"", *, on_open: Callable[[grpc.Call], None]
    ) -> Iterator[pb.WatchMessage]:
        """Yield what one stream of updates brings, until it breaks or the run ends.

        Args:
            have_version: that the worker holds; None for none.
            held: digests of the units that it holds where that is no version; empty for none.
            on_open: gets the call, to cancel.

        Raises:
            GradwireError: what broke it; UnavailableError if it just ended.
        """
        session = self.reply.session
        call = self._stub.Watch(pb.WatchRequest(session=session, have_version=have_version, held=held))
        on_open(call)
        try:
            for message in call:
                bounds.check(message)
                yield message
                if message.HasField("run_end"):
                    return
        except grpc.RpcError as failed:
            error = self.error_of(failed)
            if isinstance(error, SessionError):
                self._rejoin(session)
            raise error from None
        raise UnavailableError(f"server {self.server} closed the stream of updates")

    def heartbeat(self) -> pb.HeartbeatReply:
        """Say that this worker is alive."""
        reply: pb.HeartbeatReply = self._patiently(
            lambda session: self._ask(self._stub.Heartbeat, pb.HeartbeatRequest(session=session))
        )
        bounds.check(reply)
        if reply.HasField("limits"):
            self._hear(reply.limits)
        self.wait = reply.wait.what
        return reply

    def turn(self, version: int) -> int:
        """Return the round after `version` that this worker takes part in; 0 where none chose it for a while.

        Raises:
            RunEndedError: the run is over.
        """
        reply: pb.TurnReply = self._patiently(
            lambda session: self._ask(
                self._stub.Turn, pb.TurnRequest(session=session, version=version), self._timeout + TURN_SECONDS
            )
        )
        bounds.check(reply)
        return reply.round

    def report(self, version: int, metrics: Mapping[str, Metric]) -> None:
        """Report the metrics of the weights of `version` on this worker's part of the test samples."""
        messages = metrics_to_messages(metrics)
        self._patiently(
            lambda session: self._ask(
                self._stub.Report,
                pb.EvaluationReport(session=session, version=version, metrics=messages),
            )
        )

    def leave(self, reason: str) -> None:
        """End the session; a server that cannot be reached will notice by itself."""
        self._closing.set()
        if self.reply.session:
            self._leave(self.reply.session, reason)

    def _join(self) -> pb.JoinReply:
        patience = self.patience()
        while True:
            try:
                with patience.notice(f"waiting for an answer of server {self.server}"):
                    reply = self._ask_to_join(max(CALL_TIMEOUT, self._patience))
            except grpc.RpcError as failed:
                patience.retry(self.error_of(failed))
            else:
                self._introduction.request.slot = reply.slot
                return reply

    def _ask_to_join(self, timeout: float) -> pb.JoinReply:
        """Return the answer to a join; the manifest follows where the server asks for it. Raises RangeError."""
        reply: pb.JoinReply = self._ask(self._stub.Join, self._introduction.request, timeout)
        if reply.manifest_wanted:
            timeout += len(self._introduction.packed) / SLOWEST
            reply = self._ask(self._stub.Introduce, self._introduction.messages(), timeout)
        bounds.check(reply)
        return reply

    def _rejoin(self, lost: str) -> None:
        """Join again, unless another thread has done so since session `lost` was in use."""
        with interrupts.locked(self._joining):
            if self.reply.session != lost:
                return
            reply = self._join()
            try:
                self._on_rejoin(reply)
            except GradwireError as error:
                self._leave(reply.session, str(error))
                raise
            self.reply = reply
            self._hear(reply.limits)

    def staged(self, push: PendingPush, session: str) -> int:
        """Return how many bytes of a push that was cut the server holds."""
        request = pb.StagedRequest(session=session, kind=push.kind, round=push.round, with_buffers=push.with_buffers)
        reply: pb.StagedReply = self._ask(self._stub.Staged, request)
        push.wire_bytes += CALL_BYTES + wire_bytes(request.ByteSize())
        return reply.length if push.begins_with(reply.length, reply.digest) else 0

    def messages(self, push: PendingPush, session: str, offset: int = 0) -> Iterator[pb.PushMessage]:
        """Yield the messages of a push at the pace that the server allows."""
        messages = push.messages(session, lambda: self.chunk_bytes, offset, self.limits.whole_bytes)
        return messages if self._pacer is None else self._pacer.paced(messages)

    def _leave(self, session: str, reason: str) -> None:
        with contextlib.suppress(grpc.RpcError):
            self._ask(
                self._stub.Leave,
                pb.LeaveRequest(session=session, reason=reason[:MAX_TEXT], finished=reason == DONE),
                LEAVE_TIMEOUT,
            )

    def _patiently(self, call: Callable[[str], T]) -> T:
        """Return what `call(session)` does, repeating it while that may help."""
        patience = self.patience()
        while True:
            session = self.reply.session
            try:
                return call(session)
            except grpc.RpcError as failed:
                self.recover(self.error_of(failed), session, patience)

    def error_of(self, failed: grpc.RpcError) -> GradwireError:
        """Return the error that a failed call stands for."""
        return error_of(failed, self.server, first=not self.reply.session, access=self._access)

    def recover(self, error: GradwireError, session: str, patience: Patience) -> None:
        """Do what makes another attempt worth while after `error`, or raise it."""
        patience.retry(error)
        if isinstance(error, SessionError):
            self._rejoin(session)
