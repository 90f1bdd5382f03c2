"""A push while it arrives: encoded frames, checked chunk by chunk, which count wholly or not at all.

offset and bound of the chunk -> header of each frame as soon as it is there -> length -> checksum, codebook, entries
"""

import asyncio
from collections.abc import Sequence

from gradwire_common.errors import BitstreamError, UsageError
from gradwire_common.layout.manifest import Unit
from gradwire_common.methods.frames import CODEC_FRAMES
from gradwire_common.methods.method import Frames
from gradwire_common.methods.update import frames_of, largest_update
from gradwire_common.transport.chunks import check_chunk
from gradwire_common.transport.digests import EMPTY, digest_of
from gradwire_server.limits.memory import Lease

DIGEST_STEP = 4 << 20  # bytes; four milliseconds


class Staging:
    """The frames of one update of `units` as they arrive.

    Args:
        units: what the frames must be of, in order.
        chunk_bytes: most bytes in one chunk.
        method: how the frames of parameters are read; weights are frames of the codec.
    """

    def __init__(self, units: Sequence[Unit], chunk_bytes: int, method: Frames = CODEC_FRAMES):
        self._units = units
        self._method = method
        self.chunk_bytes = chunk_bytes
        self._lease: Lease | None = None
        self._limit = largest_update(units, method)
        self._data = bytearray()
        self._n_headers = 0  # frames whose headers have been looked at
        self._next_frame = 0  # where the frame after those begins
        self._digest, self._n_digested = EMPTY, 0  # of how many bytes

    @property
    def length(self) -> int:
        """Bytes that have arrived."""
        return len(self._data)

    async def digest(self) -> int:
        """Return their digest, taken up in steps, so that nothing else waits for all of it."""
        while self._n_digested < self.length:
            step = memoryview(self._data)[self._n_digested : self._n_digested + DIGEST_STEP]
            self._digest = digest_of(step, self._digest)
            self._n_digested += len(step)
            del step  # while it is there, nothing can be appended
            await asyncio.sleep(0)
        return self._digest

    async def take_room(self, lease: Lease | None) -> None:
        """Take the room of `lease` from now on, where memory is bounded. Raises UsageError if it is too much."""
        self._lease = lease
        await self.make_room(0)

    async def make_room(self, n_bytes: int) -> None:
        """Wait until there is room for `n_bytes` more. Raises UsageError where there never is."""
        if self._lease is not None:
            await self._lease.grow(self.length + n_bytes)

    def add(self, offset: int, data: bytes) -> None:
        """Append the chunk that begins at byte `offset`.

        There must be room for it.

        Raises:
            UsageError: it is larger than agreed.
            BitstreamError: it does not begin where the last one ended, there is too much of it, or a frame that begins
                in it is not of its unit.
        """
        if len(data) > self.chunk_bytes:
            raise UsageError(f"got a chunk of {len(data)} bytes, want at most {self.chunk_bytes}")
        check_chunk(offset, len(data), self.length, self._limit)
        self._data += data
        while self._n_headers < len(self._units) and self.length >= self._next_frame + self._frames.header_bytes:
            self._look_at_header()

    def finish(self, length: int) -> memoryview:
        """Return the frames, all `length` bytes of them, every header looked at.

        Raises:
            BitstreamError: something is missing, or too much.
        """
        if length != self.length:
            raise BitstreamError(f"push ends after {self.length} bytes, want {length}")
        while self._n_headers < len(self._units):
            self._look_at_header()
        if self._next_frame != length:
            raise BitstreamError(f"got {length} bytes, want the {self._next_frame} of {self._n_headers} frames")
        if self._lease is not None:
            self._lease.finish(length)
        return memoryview(self._data).toreadonly()

    @property
    def _frames(self) -> Frames:
        """How the next frame is read."""
        return frames_of(self._units[self._n_headers], self._method)

    def _look_at_header(self) -> None:
        head = bytes(self._data[self._next_frame : self._next_frame + self._frames.header_bytes])
        self._next_frame += self._frames.frame_length(head, self._units[self._n_headers])
        self._n_headers += 1
