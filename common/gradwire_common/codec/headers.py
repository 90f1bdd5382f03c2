"""The header of a frame: what it holds, how it is coded, how long it is. docs/bitstream-format.md is its definition."""

import math
import struct
from dataclasses import dataclass

import numpy as np

from gradwire_common.codec.formats import Format, Quantizer, all_formats, format_numbered
from gradwire_common.codec.words.scheme import MAX_GROWTH, MAX_RUN, RAW, RUNS, TUPLES, WordScheme
from gradwire_common.errors import BitstreamError, UsageError

FRAME_VERSION = 1
MAGIC = b"GW"
CHECKSUM_BYTES = 4  # CRC-32 of all bytes of the frame before it
HEADER_MAX = 64  # bytes; the longest header, with room to spare
VARINT_MAX_BYTES = 7  # 49 bits: no tensor and no frame is longer
MAX_ENTRIES_PER_BYTE = 8 * MAX_RUN  # of the body; a word costs one bit at least
MIN_SEGMENT = (
    1 << 10
)  # entries, where there are several segments; each costs the decoder as much as hundreds of entries
MAX_SEGMENT = 1 << 22  # entries; bounds the decoder's buffers

EXPLICIT = 0x80  # flag in the coding byte: code lengths follow the header
GROWING = 3  # coding byte of TUPLES that grow

PARAMETER = "<f"


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """What a frame says of itself before its body.

    Attributes:
        quantizer: what its symbols mean.
        n_entries: entries of the tensor or bundle.
        body_length: bytes after the header, the checksum included.
        scheme: how entries are coded; None where they are stored raw.
        explicit: whether the code lengths travel in the body.
        segment_entries: entries of every segment but the last; 0 where stored raw.
        fingerprint: of the codebook's code lengths; 0 where stored raw.
        header_length: bytes of the header.
    """

    quantizer: Quantizer
    n_entries: int
    body_length: int
    scheme: WordScheme | None = None
    explicit: bool = False
    segment_entries: int = 0
    fingerprint: int = 0
    header_length: int = 0

    @property
    def frame_length(self) -> int:
        """Bytes of the whole frame."""
        return self.header_length + self.body_length


def build_header(header: FrameHeader) -> bytes:
    """Write a header; its `header_length` is not looked at."""
    quantizer, scheme = header.quantizer, header.scheme
    coding = RAW
    if scheme is not None:
        coding = GROWING if scheme.growth else scheme.coding | (EXPLICIT if header.explicit else 0)
    parts = [MAGIC, bytes((FRAME_VERSION, quantizer.format.number, coding))]
    if quantizer.format.parameter is not None:
        parts.append(struct.pack(PARAMETER, quantizer.parameter))
    parts += [build_varint(header.n_entries), build_varint(header.body_length)]
    if scheme is not None:
        parts.append(_build_scheme(scheme))
        parts.append(build_varint(header.segment_entries))
        parts.append(struct.pack("<I", header.fingerprint))
    return b"".join(parts)


def parse_header(data: memoryview) -> FrameHeader:
    """Read the header at the start of `data`.

    Raises:
        BitstreamError: if no header of this version starts there, or it contradicts itself.
    """
    reader = _Reader(data[:HEADER_MAX])
    magic = reader.take(2)
    if magic != MAGIC:
        raise BitstreamError(f"frame starts with {magic!r}, want {MAGIC!r}")
    version, number, coding = reader.take(3)
    if version != FRAME_VERSION:
        raise BitstreamError(f"frame version is {version}, want {FRAME_VERSION}")
    form = format_numbered(number)
    if form is None:
        known = ", ".join(str(each) for each in sorted(each.number for each in all_formats()))
        raise BitstreamError(f"frame has format number {number}, want one of {known}")
    quantizer = _read_quantizer(form, reader)
    n_entries, body_length = reader.varint(), reader.varint()
    if body_length < CHECKSUM_BYTES:
        raise BitstreamError(f"frame body has {body_length} bytes, want at least the {CHECKSUM_BYTES} of the checksum")
    if coding == RAW:
        want = n_entries * np.dtype(form.raw_dtype).itemsize + CHECKSUM_BYTES
        if body_length != want:
            raise BitstreamError(f"raw frame of {n_entries} entries has a body of {body_length} bytes, want {want}")
        return FrameHeader(quantizer, n_entries, body_length, header_length=reader.place)
    if coding != GROWING and coding & ~EXPLICIT not in (TUPLES, RUNS):
        raise BitstreamError(f"frame has coding {coding}, want {RAW}, {TUPLES}, {RUNS} or {GROWING}")
    if not 1 <= n_entries <= body_length * MAX_ENTRIES_PER_BYTE:
        raise BitstreamError(f"frame claims {n_entries} coded entries in {body_length} bytes")
    scheme = _read_scheme(coding, reader)
    check_raw_bits(form, scheme)
    segment_entries = reader.varint()
    least = min(n_entries, MIN_SEGMENT)
    if not least <= segment_entries <= MAX_SEGMENT:
        raise BitstreamError(f"frame has segments of {segment_entries} entries, want {least} to {MAX_SEGMENT}")
    (fingerprint,) = struct.unpack("<I", reader.take(4))
    return FrameHeader(
        quantizer,
        n_entries,
        body_length,
        scheme,
        bool(coding & EXPLICIT),
        segment_entries,
        fingerprint,
        reader.place,
    )


def check_raw_bits(form: Format, scheme: WordScheme) -> None:
    """Check that a scheme's raw bits and origin go with the format.

    Raises:
        BitstreamError: they do not.
    """
    layout, kind = form.buckets, form.name
    if scheme.raw_bits not in layout.raw_bits:
        low, high = layout.raw_bits[0], layout.raw_bits[-1]
        raise BitstreamError(f"{kind} frame has {scheme.raw_bits} raw bits, want {low} to {high}")
    if scheme.coding == RUNS and not layout.signed:
        raise BitstreamError(f"{kind} frame is coded as runs")
    if scheme.origin and not layout.any_origin:
        raise BitstreamError(f"{kind} frame has origin {scheme.origin}, want 0")
    n_all = layout.n_magnitude_buckets(scheme.raw_bits)
    if scheme.raw_bits and scheme.n_buckets > n_all:
        raise BitstreamError(
            f"{kind} frame has {scheme.n_buckets} buckets of {scheme.raw_bits} raw bits, want at most {n_all}"
        )
    if scheme.raw_bits == 0 and scheme.origin:
        raise BitstreamError(f"frame without raw bits has origin {scheme.origin}, want 0")


def build_varint(value: int) -> bytes:
    """Write a whole number >= 0, seven bits a byte, the lowest first; the upper bit says that more follow."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


SCHEME_FIELDS = "<BhBBBBB"


def _build_scheme(scheme: WordScheme) -> bytes:
    fields = struct.pack(
        SCHEME_FIELDS,
        scheme.beta_index,
        scheme.ratio_index,
        scheme.n_buckets,
        scheme.size,
        scheme.detail | (scheme.max_length - 8) << 5,
        scheme.raw_bits,
        scheme.origin,
    )
    return fields + bytes([scheme.growth] if scheme.growth else [])


def _read_scheme(coding: int, reader: "_Reader") -> WordScheme:
    fields = struct.unpack(SCHEME_FIELDS, reader.take(struct.calcsize(SCHEME_FIELDS)))
    beta_index, ratio_index, n_buckets, size, packed, raw_bits, origin = fields
    growth = 0
    if coding == GROWING:
        (growth,) = reader.take(1)
        if growth == 0:
            raise BitstreamError(f"frame's tuples grow by 0, want 1 to {MAX_GROWTH}")
    coding = TUPLES if growth else coding & ~EXPLICIT
    told = beta_index, ratio_index, raw_bits, n_buckets, size, packed & 31, (packed >> 5) + 8, origin, growth
    return WordScheme(coding, *told)


class _Reader:
    """Fields one after the other; a field that the data does not hold is a BitstreamError."""

    def __init__(self, data: memoryview):
        self.data = bytes(data)
        self.place = 0

    def take(self, n: int) -> bytes:
        if self.place + n > len(self.data):
            raise self._short()
        self.place += n
        return self.data[self.place - n : self.place]

    def varint(self) -> int:
        value = 0
        for i, byte in enumerate(self.data[self.place : self.place + VARINT_MAX_BYTES]):
            value |= (byte & 0x7F) << 7 * i
            if byte < 0x80:
                self.place += i + 1
                return value
        if self.place + VARINT_MAX_BYTES > len(self.data):
            raise self._short()
        raise BitstreamError(f"frame header has a number of more than {VARINT_MAX_BYTES} bytes")

    def _short(self) -> BitstreamError:
        return BitstreamError(f"frame header ends after {len(self.data)} bytes, want more")


def _read_quantizer(form: Format, reader: _Reader) -> Quantizer:
    if form.parameter is None:
        return form.build()
    (number,) = struct.unpack(PARAMETER, reader.take(struct.calcsize(PARAMETER)))
    if not math.isfinite(number):
        raise BitstreamError(f"frame's {form.parameter.name} is {number}, want a finite number")
    try:
        return form.build(number)
    except UsageError as error:
        raise BitstreamError(f"frame: {error}") from error
