"""A push on its way: frames that are still being made, and that are kept until the receipt has come."""

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from gradwire_common.step_options import Groups, to_messages
from gradwire_common.transport.bounds import MAX_BUDGET, MAX_LOSS, MAX_SAMPLES
from gradwire_common.transport.channel import CALL_BYTES, wire_bytes
from gradwire_common.transport.chunks import split
from gradwire_common.transport.digests import digest_of
from gradwire_common.v1 import parameter_server_pb2 as pb


@dataclass
class PendingPush:
    """One push: what its header says, and its frames, appended by one thread while others send them.

    A push that must be repeated repeats the same bytes, so nothing is dropped before the receipt.

    Attributes:
        options: of the parameter groups at the round's step, where the worker has a say.
        wire_bytes: bytes that sending took so far, framing and repetitions included.
    """

    kind: pb.PushKind
    round: int
    base_version: int
    samples: int
    with_buffers: bool = False
    family: str = ""
    options: Groups = ()
    wire_bytes: int = 0
    n_bytes: int = 0
    _frames: list[bytes] = field(default_factory=list)
    _end: pb.PushEnd | None = None
    _abandoned: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def append(self, frame: bytes) -> None:
        """Add the next frame; the sender may send it from now on."""
        with self._changed:
            self._frames.append(frame)
            self.n_bytes += len(frame)
            self._changed.notify_all()

    def close(self, loss: float = float("nan"), times: pb.StepTimes | None = None, budget: int = 0) -> None:
        """Say that there are no further frames, and what the push was allowed. A loss that is infinite is unknown."""
        told = loss if abs(loss) <= MAX_LOSS else math.nan
        with self._changed:
            self._end = pb.PushEnd(
                length=self.n_bytes,
                loss=told,
                times=times,
                budget=min(budget, MAX_BUDGET),
                groups=to_messages(self.options),
            )
            self._changed.notify_all()

    def abandon(self) -> None:
        """Let senders stop without an end, so that the push cannot count."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def counted(self, receipt: pb.Receipt) -> bool:
        """Whether `receipt` says that these very bytes count, now or since they were sent before."""
        if receipt.verdict == pb.VERDICT_DUPLICATE:
            return receipt.digest == digest_of(self.frames())
        return receipt.verdict == pb.VERDICT_COUNTED

    def frames(self) -> bytes:
        """Return the frames made so far, one after the other."""
        with self._changed:
            return b"".join(self._frames)

    def begins_with(self, n_bytes: int, digest: int) -> bool:
        """Whether the first `n_bytes` of the frames made so far have `digest`."""
        return n_bytes <= self.n_bytes and digest_of(memoryview(self.frames())[:n_bytes]) == digest

    def messages(
        self, session: str, chunk_bytes: Callable[[], int], offset: int = 0, whole_bytes: int = 0
    ) -> Iterator[pb.PushMessage]:
        """Yield the messages of the push, each as soon as it can be made.

        Args:
            session: of the worker.
            chunk_bytes: tells how long a chunk may be.
            offset: bytes of the frames that the server holds already.
            whole_bytes: most bytes of frames of a push that travels as one message.
        """
        header = pb.PushHeader(
            session=session,
            kind=self.kind,
            round=self.round,
            base_version=self.base_version,
            samples=min(self.samples, MAX_SAMPLES),
            with_buffers=self.with_buffers,
            family=self.family,
            offset=offset,
        )
        self.wire_bytes += CALL_BYTES
        if not offset and self._fits(whole_bytes):
            yield self._counted(pb.PushMessage(whole=pb.WholePush(header=header, data=self.frames(), end=self._end)))
            return
        yield self._counted(pb.PushMessage(header=header))
        for piece in split(self._all_frames(offset), chunk_bytes):
            yield self._counted(pb.PushMessage(chunk=pb.Chunk(offset=offset, data=piece)))
            offset += len(piece)
        if self._end is not None:
            yield self._counted(pb.PushMessage(end=self._end))

    def _fits(self, n_bytes: int) -> bool:
        """Say whether all frames are no longer than `n_bytes`, once that can be said; at once where it is 0."""
        with self._changed:
            while not (self._end or self._abandoned or self.n_bytes > n_bytes or not n_bytes):
                self._changed.wait()
            return self._end is not None and self.n_bytes <= n_bytes

    def _all_frames(self, skipped: int = 0) -> Iterator[bytes]:
        """Yield every frame, the first `skipped` bytes left out, waiting for those that are not made yet."""
        n_given = 0
        while True:
            with self._changed:
                while not (self._end or self._abandoned or len(self._frames) > n_given):
                    self._changed.wait()
                if self._abandoned or len(self._frames) <= n_given:
                    return
                frame = self._frames[n_given]
            n_given += 1
            if skipped < len(frame):
                yield frame[skipped:]
            skipped = max(0, skipped - len(frame))

    def _counted(self, message: pb.PushMessage) -> pb.PushMessage:
        self.wire_bytes += wire_bytes(message.ByteSize())
        return message
