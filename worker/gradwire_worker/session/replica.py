"""The replica: the copy of the weights that every worker holds, the same bits on each of them."""

import numpy as np
import numpy.typing as npt
from isal.isal_zlib import crc32

from gradwire_common.errors import DataError, DigestError
from gradwire_common.layout.manifest import Layout, Unit
from gradwire_common.methods.frames import CODEC_FRAMES
from gradwire_common.methods.method import Frames
from gradwire_common.step_options import Groups
from gradwire_common.transport.held import unit_digests, unpack_marks
from gradwire_worker.session.arriving import Arriving
from gradwire_worker.session.heading import Heading, UpdateKind

F32 = npt.NDArray[np.float32]

NO_VERSION = -1  # of a replica that holds nothing yet, or nothing right


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
        self._arriving: Arriving | None = None

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
        self._arriving = Arriving(heading, units, method, before)
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
    def _coming(self) -> "Arriving":
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
