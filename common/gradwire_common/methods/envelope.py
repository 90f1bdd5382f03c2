"""Frames that are not the codec's: a number that tells whose they are, their length, a body, a checksum.

    number (1 byte) | bytes of the body (varint) | body | CRC-32 of all before it

What the body holds is the method's, which is known to both ends.
"""

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from isal.isal_zlib import crc32

from gradwire_common.codec.headers import VARINT_MAX_BYTES, build_varint
from gradwire_common.codec.model.fit import refuse_non_finite
from gradwire_common.errors import BitstreamError, NonFiniteError
from gradwire_common.layout.manifest import Unit
from gradwire_common.methods.method import F32

CHECKSUM_BYTES = 4


def sealed(number: int, body: bytes) -> bytes:
    """Return the frame of a method's `number` around a body."""
    data = bytes([number]) + build_varint(len(body)) + body
    return data + crc32(data).to_bytes(CHECKSUM_BYTES, "little")


def opened(frame: bytes | memoryview, number: int) -> memoryview:
    """Return the body of a whole frame. Raises BitstreamError where it is damaged or of another number."""
    start, length = read_head(frame, number)
    if len(frame) != start + length + CHECKSUM_BYTES:
        raise BitstreamError(f"got {len(frame)} bytes, want {start + length + CHECKSUM_BYTES}")
    data = memoryview(frame).cast("B")
    got, want = crc32(data[:-CHECKSUM_BYTES]), int.from_bytes(data[-CHECKSUM_BYTES:], "little")
    if got != want:
        raise BitstreamError(f"checksum is {got:08x}, want {want:08x}")
    return data[start:-CHECKSUM_BYTES]


def read_head(head: bytes | memoryview, number: int) -> tuple[int, int]:
    """Return where the body of the frame that begins with `head` begins, and its bytes. Raises BitstreamError."""
    data = bytes(head[: 1 + VARINT_MAX_BYTES])
    if data[:1] != bytes([number]):
        raise BitstreamError(f"frame begins with {data[:1]!r}, want {bytes([number])!r}")
    length, place = read_varint(data, 1)
    return place, length


def read_varint(data: bytes | memoryview, place: int) -> tuple[int, int]:
    """Return the varint at `place` and the place after it. Raises BitstreamError where it is cut or too long."""
    value = 0
    for i, byte in enumerate(data[place : place + VARINT_MAX_BYTES]):
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            return value, place + i + 1
    raise BitstreamError(f"a frame's number at byte {place} is cut, or longer than {VARINT_MAX_BYTES} bytes")


class EnvelopeFrames:
    """Reads such frames; a method says by `number` which are its own, and reads their bodies."""

    number: ClassVar[int]
    header_bytes: ClassVar[int] = 1 + VARINT_MAX_BYTES
    linear: ClassVar[bool] = True

    @abstractmethod
    def read(self, body: memoryview, unit: Unit, out: F32) -> None:
        """Write what a body says of `unit` to `out`, all of it. Raises BitstreamError where it cannot be."""

    def frame_length(self, head: bytes | memoryview, unit: Unit) -> int:
        """Return the bytes of the frame that begins with `head`. Raises BitstreamError unless it may be of `unit`."""
        try:
            start, length = read_head(head, self.number)
        except BitstreamError as error:
            raise BitstreamError(f"frame of {unit}: {error}") from None
        if start + length + CHECKSUM_BYTES > self.largest(unit):
            raise BitstreamError(f"frame of {unit} has {length} bytes in its body, want at most {self.largest(unit)}")
        return start + length + CHECKSUM_BYTES

    def largest(self, unit: Unit) -> int:
        """Return the most bytes that a frame of `unit` can take."""
        return 5 * len(unit) + 1100 * len(unit.tensors) + 1024

    def check(self, frame: bytes | memoryview, unit: Unit) -> float:
        """Decode a frame once; return its largest magnitude. Raises BitstreamError unless it is whole and finite."""
        entries = np.empty(len(unit), np.float32)
        self.decode(frame, unit, entries)
        try:
            return refuse_non_finite(entries)
        except NonFiniteError:
            raise BitstreamError(f"frame of {unit} holds a NaN or infinity, want finite entries") from None

    def decode(self, frame: bytes | memoryview, unit: Unit, out: F32) -> None:
        """Write a frame's entries to `out`. Raises BitstreamError if it is damaged."""
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is found by `check`
                self.read(opened(frame, self.number), unit, out)
        except BitstreamError as error:
            raise BitstreamError(f"frame of {unit}: {error}") from error

    def add(self, frame: bytes | memoryview, weight: float, unit: Unit, out: F32) -> None:
        """Add `weight` times a frame's entries to `out`. Raises BitstreamError if it is damaged."""
        entries = np.empty(len(unit), np.float32)
        self.decode(frame, unit, entries)
        entries *= np.float32(weight)
        out += entries
