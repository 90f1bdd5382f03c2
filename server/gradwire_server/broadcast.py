"""The updates that watchers are sent: each encoded once, the newest kept for who lags behind."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gradwire_common.chunks import split
from gradwire_common.v1 import parameter_server_pb2 as pb


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Update:
    """One version of the weights as it travels: all of them, or what makes it out of the version before.

    Attributes:
        kind: pb.UPDATE_KIND_SNAPSHOT, _CHANGE or _WEIGHTS.
        frames: one a unit.
        digest: CRC-32 of the replica at this version.
    """

    version: int
    kind: pb.UpdateKind
    frames: tuple[bytes, ...]
    with_buffers: bool
    digest: int

    @property
    def length(self) -> int:
        """Bytes of frames."""
        return sum(map(len, self.frames))

    def messages(self, chunk_bytes: Callable[[], int]) -> Iterator[pb.WatchMessage]:
        """Yield the messages that carry it, made as they are asked for, in chunks of `chunk_bytes()` of data."""
        header = pb.UpdateHeader(version=self.version, kind=self.kind, with_buffers=self.with_buffers)
        yield pb.WatchMessage(header=header)
        offset = 0
        for data in split(self.frames, chunk_bytes):
            yield pb.WatchMessage(chunk=pb.Chunk(offset=offset, data=data))
            offset += len(data)
        yield pb.WatchMessage(end=pb.UpdateEnd(length=self.length, digest=self.digest))


class Broadcast:
    """The newest updates, bounded in bytes, and the word to watchers that there are more.

    Args:
        most_bytes: frames kept; the newest update is kept whatever its size.
    """

    def __init__(self, most_bytes: int):
        self._most_bytes = most_bytes
        self._ring: deque[Update] = deque()
        self._n_bytes = 0
        self._changed = asyncio.Event()
        self.version = -1  # -1 until there are weights
        self.run_end: pb.RunEnd | None = None

    def begin(self, version: int) -> None:
        """Take note that there are weights, which watchers get as a snapshot."""
        self.version = version
        self._wake()

    def publish(self, update: Update) -> None:
        """Let watchers have the next version."""
        self._ring.append(update)
        self._n_bytes += update.length
        while self._n_bytes > self._most_bytes and len(self._ring) > 1:
            self._n_bytes -= self._ring.popleft().length
        self.version = update.version
        self._wake()

    def end(self, reason: str) -> None:
        """Let watchers know that no version comes after this one. The first reason stands."""
        self.run_end = self.run_end or pb.RunEnd(version=max(self.version, 0), reason=reason)
        self._wake()

    def after(self, version: int) -> Update | None:
        """Return the update that makes version + 1 out of `version`; None where a snapshot must do."""
        return next((update for update in self._ring if update.version == version + 1), None)

    async def news(self, version: int) -> bool:
        """Wait for a version after `version`, and return True; or for the end of the run, and return False."""
        while self.version <= version and self.run_end is None:
            await self._changed.wait()
        return self.version > version

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
