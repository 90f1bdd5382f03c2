"""The replica: the copy of the weights that every worker holds, the same bits on each of them."""

import zlib
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.frames import add_frame, decode_frame
from gradwire_common.errors import DataError
from gradwire_common.manifest import Layout
from gradwire_common.update import split_frames

F32 = npt.NDArray[np.float32]

NO_VERSION = -1  # of a replica that holds nothing yet, or nothing right


class UpdateKind(StrEnum):
    """What the frames of an update hold."""

    SNAPSHOT = "snapshot"  # all tensors
    CHANGE = "change"  # what to add to the parameters
    WEIGHTS = "weights"  # the parameters themselves


@dataclass(frozen=True, slots=True)
class Update:
    """One version's update, as it came.

    Attributes:
        with_buffers: whether the averaged buffers follow the parameters; a snapshot holds everything anyway.
        frames: one frame a unit.
        digest: what `Replica.digest` must be once the update has been applied.
    """

    version: int
    kind: UpdateKind
    with_buffers: bool
    frames: bytes
    digest: int


class DigestError(DataError):
    """A replica that differs from the server's; a snapshot makes it right again."""


class Replica:
    """All weights as one flat vector, and the version that they are.

    Attributes:
        values: (size,) float32 in layout order.
        version: NO_VERSION until the first snapshot, and after an update that failed.
        buffers_version: the version that the buffers came with.
        snapshot_version: the version that all tensors came with.
    """

    def __init__(self, layout: Layout, values: F32 | None = None):
        self.layout = layout
        self.values: F32 = np.zeros(layout.size, np.float32) if values is None else values
        self.version = NO_VERSION
        self.buffers_version = NO_VERSION
        self.snapshot_version = NO_VERSION

    def set(self, values: F32, version: int) -> None:
        """Take `values`, (size,), as all weights of `version`."""
        self.values[:] = values
        self.version = self.buffers_version = self.snapshot_version = version

    def apply(self, update: Update) -> None:
        """Take in an update.

        Raises:
            DataError: if it does not follow the version held, or a frame is damaged.
            DigestError: if the result is not what the server holds.
        """
        snapshot = update.kind is UpdateKind.SNAPSHOT
        if not snapshot and (self.version == NO_VERSION or update.version != self.version + 1):
            raise DataError(f"got the {update.kind.value} of version {update.version}, want version {self.version + 1}")
        units = self.layout.units if snapshot else self.layout.pushed(update.with_buffers)
        self.version = NO_VERSION
        for unit, frame in zip(units, split_frames(update.frames, units), strict=True):
            if update.kind is UpdateKind.CHANGE and unit.stop <= self.layout.n_parameters:
                add_frame(frame, 1.0, self.values[unit.place])
            else:
                self.values[unit.place] = decode_frame(frame)
        if self.digest() != update.digest:
            raise DigestError(
                f"weights of version {update.version}: got digest {self.digest():08x}, want {update.digest:08x} as the "
                "server's replica has"
            )
        self.version = update.version
        if snapshot or update.with_buffers:
            self.buffers_version = update.version
        if snapshot:
            self.snapshot_version = update.version

    def digest(self) -> int:
        """Return CRC-32 of the parameters as little-endian float32 in layout order."""
        parameters = self.values[: self.layout.n_parameters].astype("<f4", copy=False)
        return zlib.crc32(parameters.data)
