"""The entropy method with bucket means: the first few levels of the uniform quantiser lie where their entries are.

Most entries of a bucket lie at its inner end, the more so the fewer bits there are, so its mean loses less than a whole
step. A frame is one of the codec, and behind it

    a byte for each of the buckets 1 to BUCKETS | the low half of the CRC-32 of these and of the codec's own checksum

Bucket k is decoded as (k - 1/2 + byte / 256) steps, of either sign; buckets beyond as whole steps.
"""

import numpy as np
from isal.isal_zlib import crc32

from gradwire_common.codec.frames import decode_frame, read_header
from gradwire_common.codec.headers import CHECKSUM_BYTES
from gradwire_common.errors import BitstreamError
from gradwire_common.layout.manifest import Unit
from gradwire_common.methods.coding import Coding
from gradwire_common.methods.entropy import Code, Entropy
from gradwire_common.methods.kernels.means import add_to_means, move_levels
from gradwire_common.methods.method import F32

BUCKETS = 4  # at a bit an entry and less hardly any entry lies beyond, and there a bucket is nearly flat
PLACES = 256  # in a bucket, where its mean may be
TRAILER_BYTES = BUCKETS + 2


class CentredEntropy(Entropy):
    """Reads and makes such frames."""

    @property
    def family(self) -> str:
        """Frames with means are read by their own kind alone."""
        return f"{super().family} with means"

    @property
    def code(self) -> Code:
        """What makes the frame of a unit."""
        return encode_centred

    def frame_length(self, head: bytes | memoryview, unit: Unit) -> int:
        """Return the bytes of the frame that begins with `head`. Raises BitstreamError unless it is of `unit`."""
        return super().frame_length(head, unit) + TRAILER_BYTES

    def largest(self, unit: Unit) -> int:
        """Return the most bytes that a frame of `unit` can take."""
        return super().largest(unit) + TRAILER_BYTES

    def check(self, frame: bytes | memoryview, unit: Unit) -> float:
        """Decode a frame once, a piece at a time; return its largest magnitude, or a larger one."""
        largest = super().check(frame, unit)
        try:
            read_means(frame)
        except BitstreamError as error:
            raise BitstreamError(f"frame of {unit}: {error}") from None
        return 1.5 * largest

    def decode(self, frame: bytes | memoryview, unit: Unit, out: F32) -> None:  # noqa: ARG002
        """Write a frame's entries to `out`. Raises BitstreamError if it is damaged."""
        decode_frame(frame, out=out)
        step, means = read_means(frame)
        if out.size:
            move_levels(out, step, means)

    def add(self, frame: bytes | memoryview, weight: float, unit: Unit, out: F32) -> None:
        """Add `weight` times a frame's entries to `out`. Raises BitstreamError if it is damaged."""
        entries = np.empty(len(unit), np.float32)
        self.decode(frame, unit, entries)
        entries *= np.float32(weight)
        out += entries


def encode_centred(coding: Coding, entries: F32, lost: F32 | None) -> bytes:
    """Return the frame of entries; `lost`, which may be `entries`, gets what is lost.

    Raises:
        NonFiniteError: an entry is not finite.
    """
    frame = coding.encode(entries, None)
    levels = decode_frame(frame)
    step = float(read_header(frame).quantizer.parameter)
    sums, counts = np.zeros(BUCKETS), np.zeros(BUCKETS)
    add_to_means(entries, levels, step, sums, counts)
    buckets = np.arange(1, BUCKETS + 1)
    means = np.divide(sums / step, counts, out=buckets.astype(np.float64), where=counts > 0)
    places: bytes = np.clip(np.rint((means - buckets + 0.5) * PLACES), 0, PLACES - 1).astype(np.uint8).tobytes()
    if lost is not None:
        move_levels(levels, step, _means(places, step))
        np.subtract(entries, levels, out=lost)
    return frame + places + _check_of(frame, places)


def read_means(frame: bytes | memoryview) -> tuple[float, F32]:
    """Return the step size of a frame, and the means of its buckets, (BUCKETS,). Raises BitstreamError."""
    header = read_header(frame)
    if not header.quantizer.format.takes_bits:
        raise BitstreamError(f"got a frame of {header.quantizer.format.name} with means, want uniform")
    end = header.frame_length
    trailer = bytes(frame[end : end + TRAILER_BYTES])
    places, check = trailer[:BUCKETS], trailer[BUCKETS:]
    if len(frame) != end + TRAILER_BYTES or check != _check_of(frame[:end], places):
        raise BitstreamError("the means behind a frame are damaged")
    step = float(header.quantizer.parameter)
    return step, _means(places, step)


def _means(places: bytes, step: float) -> F32:
    offsets = np.frombuffer(places, np.uint8) / PLACES
    means: F32 = (step * (np.arange(BUCKETS) + 0.5 + offsets)).astype(np.float32)
    return means


def _check_of(frame: bytes | memoryview, places: bytes) -> bytes:
    return int(crc32(bytes(frame[-CHECKSUM_BYTES:]) + places)).to_bytes(4, "little")[:2]
