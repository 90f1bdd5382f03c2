"""An update as its bytes come: cut into frames, each of its unit."""

from collections.abc import Iterator, Sequence

from gradwire_common.errors import BitstreamError
from gradwire_common.layout.manifest import Unit
from gradwire_common.methods.method import Frames
from gradwire_common.methods.update import frames_of, largest_update
from gradwire_common.transport.chunks import check_chunk
from gradwire_common.transport.digests import EMPTY, digest_of
from gradwire_worker.session.heading import Heading


class Arriving:
    """An update whose frames are being applied.

    Attributes:
        heading: what was said of it.
        digest: CRC-32 of the parameters whose frames were applied, as little-endian float32 in layout order; of a
            snapshot, that of all parameters, once all have come.
    """

    def __init__(self, heading: Heading, units: Sequence[Unit], method: Frames, before: "Arriving | None"):
        self.heading = heading
        self._units = units
        self._method = method
        self._limit = largest_update(units, method)
        self._length = 0
        self._held: list[bytes | memoryview] = []  # pieces of the frame that is not complete
        self._n_held, self._wanted = 0, 0  # their bytes, and those of that frame; 0 where its header is not complete
        self._skipped_check = EMPTY  # digest of the bytes that an earlier attempt had applied already
        self._n_applied, self._n_bytes, self._check = 0, 0, EMPTY  # frames, their bytes, and the digest of those
        self.digest = 0
        if before is not None:
            self._n_applied, self._n_bytes, self._check = before._n_applied, before._n_bytes, before._check
            self.digest = before.digest

    def add(self, offset: int, data: bytes) -> Iterator[tuple[Unit, memoryview]]:
        """Yield the frames that a piece completes."""
        check_chunk(offset, len(data), self._length, self._limit)
        known = min(max(self._n_bytes - self._length, 0), len(data))
        self._length += len(data)
        if known:
            self._skip(memoryview(data)[:known])
        self._hold(memoryview(data)[known:])
        if self._n_held < self._wanted:
            return
        rest = memoryview(b"".join(self._held)) if len(self._held) != 1 else memoryview(self._held[0])
        while (frame := self._next_frame(rest)) is not None:
            yield self._units[self._n_applied], frame
            rest = rest[len(frame) :]
            self._n_applied += 1
            self._n_bytes += len(frame)
            self._check = digest_of(frame, self._check)
        self._held, self._n_held = [], 0
        self._hold(rest)

    def check_end(self, length: int) -> None:
        """Raise BitstreamError unless all frames have come, `length` bytes of them."""
        if length != self._length:
            raise BitstreamError(f"got {self._length} bytes, want {length}")
        if self._held or self._n_applied < len(self._units):
            raise BitstreamError(f"got {self._n_applied} whole frames in {length} bytes, want {len(self._units)}")

    def _hold(self, piece: memoryview) -> None:
        if piece:
            self._held.append(piece)
            self._n_held += len(piece)

    def _skip(self, data: memoryview) -> None:
        """Compare what an earlier attempt had applied already."""
        self._skipped_check = digest_of(data, self._skipped_check)
        if self._length >= self._n_bytes and self._skipped_check != self._check:
            raise BitstreamError(f"the first {self._n_bytes} bytes differ from those that were applied already")

    def _next_frame(self, rest: memoryview) -> memoryview | None:
        """Return the frame at the start of `rest`, None where it is not all there."""
        self._wanted = 0
        if self._n_applied == len(self._units) or not rest:
            return None
        unit = self._units[self._n_applied]
        frames = frames_of(unit, self._method)
        try:
            self._wanted = frames.frame_length(rest[: frames.header_bytes], unit)
        except BitstreamError:
            if len(rest) < frames.header_bytes:  # the rest of the header may come yet
                return None
            raise
        return rest[: self._wanted] if len(rest) >= self._wanted else None
