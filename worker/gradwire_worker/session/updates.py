"""The stream of updates, message by message, without I/O: what each of them does to a replica."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from gradwire_common.errors import DataError
from gradwire_common.foreign_text import MAX_REASON, printable
from gradwire_common.step_options import from_messages
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_worker.session.heading import Heading, UpdateKind

_KINDS = {
    pb.UPDATE_KIND_SNAPSHOT: UpdateKind.SNAPSHOT,
    pb.UPDATE_KIND_CHANGE: UpdateKind.CHANGE,
    pb.UPDATE_KIND_WEIGHTS: UpdateKind.WEIGHTS,
}


class Receiver(Protocol):
    """What updates are applied to: a Replica, or something that only counts versions."""

    def begin(self, heading: Heading) -> None:
        """Prepare for the frames of an update."""

    def add(self, offset: int, data: bytes) -> None:
        """Apply the frames that this piece completes; it begins at byte `offset` of them all."""

    def finish(self, length: int, digest: int) -> None:
        """Complete the update, whose frames were `length` bytes."""


@dataclass(frozen=True, slots=True)
class Applied:
    """An update is complete."""

    version: int


@dataclass(frozen=True, slots=True)
class Ended:
    """No further update comes."""

    reason: str


class Updates:
    """Applies the messages of a stream of updates.

    Args:
        receiver: what they are applied to.
        held: entered while the receiver goes from one version to the next; not while frames are applied in between.
    """

    def __init__(self, receiver: Receiver, held: AbstractContextManager[Any]):
        self._receiver = receiver
        self._held = held
        self._version = 0

    def take(self, message: pb.WatchMessage) -> Applied | Ended | None:
        """Apply one message; return what it completes.

        Raises:
            DataError: it cannot be right.
        """
        match message.WhichOneof("part"):
            case "header":
                self._begin(message.header)
            case "chunk":
                self._receiver.add(message.chunk.offset, message.chunk.data)
            case "end":
                return self._finish(message.end)
            case "whole":
                self._begin(message.whole.header)
                self._receiver.add(0, message.whole.data)
                return self._finish(message.whole.end)
            case "run_end":
                return Ended(printable(message.run_end.reason, MAX_REASON) or "the run is complete")
        return None

    def _begin(self, header: pb.UpdateHeader) -> None:
        if header.kind not in _KINDS:
            raise DataError(f"update of version {header.version} has kind {header.kind}, want 1, 2 or 3")
        with self._held:
            options = from_messages(header.groups)
            self._receiver.begin(
                Heading(header.version, _KINDS[header.kind], header.with_buffers, options, header.left_out)
            )
        self._version = header.version

    def _finish(self, end: pb.UpdateEnd) -> Applied:
        with self._held:
            self._receiver.finish(end.length, end.digest)
        return Applied(self._version)
