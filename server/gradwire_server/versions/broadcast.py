"""The updates that watchers are sent: each encoded once, the newest kept for who lags behind."""

from collections import deque
from collections.abc import AsyncIterator, Callable

from gradwire_common.step_options import Groups, to_messages
from gradwire_common.transport.chunks import Splitter
from gradwire_common.transport.held import Marks, pack_marks
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.outcome.outcome import Kind, Version
from gradwire_server.versions.news import News

_KINDS = {
    Kind.SNAPSHOT: pb.UPDATE_KIND_SNAPSHOT,
    Kind.CHANGE: pb.UPDATE_KIND_CHANGE,
    Kind.WEIGHTS: pb.UPDATE_KIND_WEIGHTS,
}


class Update:
    """One version of the weights as it travels: all of them, or what makes it out of the version before.

    Its frames may still be being made: each is sent as soon as it is there. Changed on the event loop alone, once it
    has been published.

    Attributes:
        frames: frames that have been made so far, one a unit.
        digest: CRC-32 of the replica at this version, once all frames have been made.
        complete: whether all frames have been made.
        abandoned: whether the missing frames will never be made.
        options: of the parameter groups that are not as the run began.
        unit_digests: of a snapshot, what `held.unit_digests` says of the version.
        left_out: of a snapshot, the units that its watcher holds, as `held.pack_marks` has them.
        whole: the snapshot that this is a part of: there as long as any part is being sent.
    """

    def __init__(self, version: int, kind: Kind, with_buffers: bool, options: Groups = ()):
        self.options = options
        self.version = version
        self.kind = kind
        self.with_buffers = with_buffers
        self.frames: list[bytes] = []
        self.digest = 0
        self.complete = self.abandoned = False
        self.unit_digests = self.left_out = b""
        self.whole: Update | None = None
        self._changed = News()

    @classmethod
    def of(cls, version: Version) -> "Update":
        """Return the update of a version all of whose frames have been made."""
        update = cls(version.number, version.kind, version.with_buffers, version.options)
        update.frames.extend(version.frames)
        update.unit_digests = version.unit_digests
        update.finish(version.digest)
        return update

    def without(self, left_out: Marks) -> "Update":
        """Return this snapshot without the frames of units that its watcher holds; itself where that is none."""
        if not left_out.any():
            return self
        part = Update(self.version, self.kind, self.with_buffers, self.options)
        part.frames.extend(frame for frame, out in zip(self.frames, left_out, strict=False) if not out)
        part.left_out, part.whole = pack_marks(left_out), self
        part.finish(self.digest)
        return part

    @property
    def length(self) -> int:
        """Bytes of frames so far."""
        return sum(map(len, self.frames))

    def append(self, frame: bytes) -> None:
        """Add the next frame."""
        self.frames.append(frame)
        self._changed.tell()

    def finish(self, digest: int) -> None:
        """Say that there are no further frames."""
        self.digest, self.complete = digest, True
        self._changed.tell()

    def abandon(self) -> None:
        """Say that the further frames will never come."""
        self.abandoned = True
        self._changed.tell()

    async def messages(self, chunk_bytes: Callable[[], int], whole_bytes: int = 0) -> AsyncIterator[pb.WatchMessage]:
        """Yield the messages that carry it, made as they are asked for: one, or many and no end where it is abandoned.

        Args:
            chunk_bytes: tells the most bytes of data in a chunk.
            whole_bytes: most bytes of frames that travel as one message.
        """
        header = pb.UpdateHeader(
            version=self.version,
            kind=_KINDS[self.kind],
            with_buffers=self.with_buffers,
            groups=to_messages(self.options),
            left_out=self.left_out,
            length=self.length if self.kind is Kind.SNAPSHOT else 0,
        )
        if await self._fits(whole_bytes):
            end = pb.UpdateEnd(length=self.length, digest=self.digest)
            yield pb.WatchMessage(whole=pb.WholeUpdate(header=header, data=b"".join(self.frames), end=end))
            return
        yield pb.WatchMessage(header=header)
        splitter, offset = Splitter(chunk_bytes), 0
        async for frame in self._all_frames():
            for data in splitter.add(frame):
                yield pb.WatchMessage(chunk=pb.Chunk(offset=offset, data=data))
                offset += len(data)
        if self.complete:
            for data in splitter.finish():
                yield pb.WatchMessage(chunk=pb.Chunk(offset=offset, data=data))
            yield pb.WatchMessage(end=pb.UpdateEnd(length=self.length, digest=self.digest))

    async def _fits(self, n_bytes: int) -> bool:
        """Say whether it is no longer than `n_bytes`, once that can be said; at once where it can hardly be."""
        while not (self.complete or self.abandoned or self.length > n_bytes or not n_bytes):
            await self._changed.wait()
        return self.complete and self.length <= n_bytes

    async def _all_frames(self) -> AsyncIterator[bytes]:
        """Yield every frame, waiting for those that have not been made yet."""
        given = 0
        while True:
            while given < len(self.frames):
                given += 1
                yield self.frames[given - 1]
            if self.complete or self.abandoned:
                return
            await self._changed.wait()


class Broadcast:
    """The newest updates, bounded in bytes, and the word to watchers that there are more.

    Attributes:
        most_bytes: frames kept; the newest update is kept whatever its size.
    """

    def __init__(self) -> None:
        self.most_bytes = 0
        self._ring: deque[Update] = deque()
        self.n_bytes = 0  # frames of updates that are complete
        self._changed = News()
        self.version = -1  # -1 until there are weights
        self.run_end: pb.RunEnd | None = None

    def begin(self, version: int, most_bytes: int) -> None:
        """Open the broadcast with weights, which watchers get as a snapshot; keep `most_bytes` of updates."""
        self.version, self.most_bytes = version, most_bytes
        self._changed.tell()

    def publish(self, update: Update) -> None:
        """Let watchers have the next version, as far as it has been made."""
        self._ring.append(update)
        self.version = update.version
        self._changed.tell()

    def complete(self, update: Update, digest: int) -> None:
        """Finish the newest version, all of whose frames have been made."""
        update.finish(digest)
        self.n_bytes += update.length
        while self.n_bytes > self.most_bytes and len(self._ring) > 1:
            self.n_bytes -= self._ring.popleft().length

    def retract(self, update: Update) -> None:
        """Take back the newest version, of which something could not be made."""
        self._ring.remove(update)
        self.version = update.version - 1
        update.abandon()

    def end(self, reason: str) -> None:
        """Let watchers know that no version comes after this one. The first reason stands."""
        self.run_end = self.run_end or pb.RunEnd(version=max(self.version, 0), reason=reason)
        self._changed.tell()

    def after(self, version: int) -> Update | None:
        """Return the update that makes version + 1 out of `version`; None where a snapshot must do."""
        return next((update for update in self._ring if update.version == version + 1), None)

    def look_again(self) -> None:
        """Let everyone who waits for news check again whether they may."""
        self._changed.tell()

    async def news(self, version: int, check: Callable[[], None]) -> bool:
        """Wait for a version after `version`, and return True; or for the end of the run, and return False.

        Args:
            version: that is known.
            check: raises where the one that waits is to have no news any more.
        """
        while self.version <= version and self.run_end is None:
            check()
            await self._changed.wait()
        return self.version > version
