"""The replica: the copy of the weights that every worker holds, the same bits on each of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from isal.isal_zlib import crc32

from gradwire_common.errors import BitstreamError, DataError, DigestError
from gradwire_common.layout.manifest import Layout, Unit
from gradwire_common.methods.frames import CODEC_FRAMES
from gradwire_common.methods.method import Frames
from gradwire_common.methods.update import frames_of, largest_update
from gradwire_common.step_options import Groups
from gradwire_common.transport.chunks import check_chunk
from gradwire_common.transport.digests import EMPTY, digest_of
from gradwire_common.transport.held import unit_digests, unpack_marks

F32 = npt.NDArray[np.float32]

NO_VERSION = -1  # of a replica that holds nothing yet, or nothing right


class UpdateKind(StrEnum):
    """What the frames of an update hold."""

    SNAPSHOT = "snapshot"  # all tensors
    CHANGE = "change"  # what to add to the parameters
    WEIGHTS = "weights"  # the parameters themselves


@dataclass(frozen=True, slots=True)
class Heading:
    """What is known of an update before its frames come.

    Attributes:
        with_buffers: whether the averaged buffers follow the parameters; a snapshot holds everything anyway.
        options: of the parameter groups that are not as the run began.
        left_out: of a snapshot, the units that are held already, as `held.pack_marks` has them.
    """

    version: int
    kind: UpdateKind
    with_buffers: bool
    options: Groups = ()
    left_out: bytes = b""


class Replica:
    """All weights as one flat vector, and the version that they are.

    An update is applied frame by frame as it comes: `begin`, `add`, `finish`. If it breaks off, the same update sent
    again continues after the frames that were applied; a snapshot sets all right whatever there was.

    Attributes:
        values: (size,) float32 in layout order.
        method: how the frames of changes are read, which the server says when the worker joins.
        version: NO_VERSION until the first snapshot, while an update is being applied, and after one that failed.
        base: the version that the next update must follow: `version`, or that before an update that broke off.
        buffers_version: the version that the buffers came with.
        snapshot_version: the version that all tensors came with.
        options: of the parameter groups that are not as the run began, as the server has them at `version`.
        filled: whether the values are weights, of whatever version: what a snapshot need not bring again.
    """

    def __init__(self, layout: Layout, values: F32 | None = None):
        self.layout = layout
        self.values: F32 = np.zeros(layout.size, np.float32) if values is None else values
        self.method: Frames = CODEC_FRAMES
        self.version = self.base = NO_VERSION
        self.buffers_version = NO_VERSION
        self.snapshot_version = NO_VERSION
        self.options: Groups = ()
        self.filled = False
        self._arriving: _Arriving | None = None

    def set(self, values: F32, version: int) -> None:
        """Take `values`, (size,), as all weights of `version`."""
        self.fill(values)
        self._hold(version)
        self.buffers_version = self.snapshot_version = version

    def fill(self, values: F32) -> None:
        """Take `values`, (size,), as what the worker has before it holds a version: parts of it may be the server's."""
        self.values[:] = values
        self.filled = True

    def unit_digests(self) -> bytes:
        """Return the digests of all units, which tell a server what a snapshot need not bring; empty if not filled."""
        return unit_digests(self.values, self.layout.units) if self.filled else b""

    @property
    def announced(self) -> int:
        """The newest version that the server has begun to send."""
        return self.base if self._arriving is None else max(self.base, self._arriving.heading.version)

    @property
    def empty(self) -> bool:
        """Whether nothing is held, and nothing is coming."""
        return self.base == NO_VERSION and self._arriving is None

    def begin(self, heading: Heading) -> None:
        """Get ready for the frames of an update. Raises DataError if it does not follow what is held.

        A snapshot that breaks off leaves the units that came: the next one need not bring those that are the same.
        """
        snapshot = heading.kind is UpdateKind.SNAPSHOT
        if not snapshot and (self.base == NO_VERSION or heading.version != self.base + 1):
            raise DataError(f"got the {heading.kind.value} of version {heading.version}, want version {self.base + 1}")
        if heading.left_out and not (snapshot and self.filled):
            raise DataError(f"got the {heading.kind.value} of version {heading.version} without units that are wanted")
        units = self.layout.units if snapshot else self.layout.pushed(heading.with_buffers)
        left_out = unpack_marks(heading.left_out, len(units))
        units = tuple(unit for unit, out in zip(units, left_out, strict=True) if not out)
        before = None if snapshot else self._arriving
        if before is not None and before.heading != heading:
            self._lose()
            raise DataError(f"got {heading} after a part of {before.heading} was applied")
        method = self.method if heading.kind is UpdateKind.CHANGE else CODEC_FRAMES
        self._arriving = _Arriving(heading, units, method, before)
        self.version = NO_VERSION
        if snapshot:
            self.base = NO_VERSION

    def add(self, offset: int, data: bytes) -> None:
        """Take the piece of the frames that begins at byte `offset`, and apply the frames that it completes.

        Raises:
            DataError: if a frame is damaged or not of its unit, or the bytes differ from those of an earlier attempt.
        """
        try:
            for unit, frame in self._coming.add(offset, data):
                self._apply(self._coming.heading.kind, unit, frame)
        except DataError:
            self._lose()
            raise

    def finish(self, length: int, digest: int) -> None:
        """Take the update's end, which says how many bytes of frames there were, and what `digest` must be now.

        Raises:
            DataError: if something is missing.
            DigestError: if the result is not what the server holds.
        """
        heading, snapshot = self._coming.heading, self._coming.heading.kind is UpdateKind.SNAPSHOT
        try:
            self._coming.check_end(length)
            if snapshot:
                self._coming.digest = crc32(self.values[: self.layout.n_parameters].astype("<f4", copy=False).data)
            if self._coming.digest != digest:
                raise DigestError(
                    f"weights of version {heading.version}: got digest {self._coming.digest:08x}, want {digest:08x} as "
                    "the server's replica has"
                )
        except DataError:
            self._lose()
            raise
        self._hold(heading.version)
        self.options = heading.options
        if snapshot or heading.with_buffers:
            self.buffers_version = heading.version
        if snapshot:
            self.snapshot_version = heading.version
            self.filled = True

    @property
    def _coming(self) -> "_Arriving":
        if self._arriving is None:
            raise DataError("got frames before the header of an update")
        return self._arriving

    def _apply(self, kind: UpdateKind, unit: Unit, frame: memoryview) -> None:
        place = self.values[unit.place]
        is_parameter = unit.stop <= self.layout.n_parameters
        if kind is UpdateKind.CHANGE and is_parameter:
            self.method.add(frame, 1.0, unit, place)
        else:
            CODEC_FRAMES.decode(frame, unit, place)
        if is_parameter and kind is not UpdateKind.SNAPSHOT:
            self._coming.digest = crc32(place.astype("<f4", copy=False).data, self._coming.digest)

    def _hold(self, version: int) -> None:
        self.version = self.base = version
        self._arriving = None

    def _lose(self) -> None:
        """Hold nothing: part of an update was applied that cannot be right."""
        self._hold(NO_VERSION)


class _Arriving:
    """An update whose frames are being applied.

    Attributes:
        heading: what was said of it.
        digest: CRC-32 of the parameters whose frames were applied, as little-endian float32 in layout order; of a
            snapshot, that of all parameters, once all have come.
    """

    def __init__(self, heading: Heading, units: Sequence[Unit], method: Frames, before: "_Arriving | None"):
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
