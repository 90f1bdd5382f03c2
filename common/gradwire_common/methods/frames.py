"""Frames of the codec: as many entries as their unit, added entry by entry. Exact ones carry all that is no update."""

from collections.abc import Iterator, Sequence

import numpy as np

from gradwire_common.codec.formats import BFloat16, Float32
from gradwire_common.codec.frames import HEADER_MAX, add_frame, check_frame, decode_frame, encode_frame, read_header
from gradwire_common.errors import BitstreamError
from gradwire_common.layout.manifest import Layout, Role, Unit
from gradwire_common.methods.method import F32, MAX_ENTRY

LOW_BITS = np.uint32(0xFFFF)  # of a float32, zero in a bfloat16
LOOKED_AT = 4096  # entries that nearly always tell that a unit is not of bfloat16 numbers

ENTRIES = "entries"  # the family of frames that hold entries as they are in the tensors


class CodecFrames:
    """Reads frames of the codec, whatever they were quantised by."""

    header_bytes = HEADER_MAX
    linear = True

    def frame_length(self, head: bytes | memoryview, unit: Unit) -> int:
        """Return the bytes of the frame that begins with `head`. Raises BitstreamError unless it is of `unit`."""
        try:
            header = read_header(head)
        except BitstreamError as error:
            raise BitstreamError(f"frame of {unit}: {error}") from error
        if header.n_entries != len(unit):
            raise BitstreamError(f"frame of {unit} holds {header.n_entries} entries, want {len(unit)}")
        return header.frame_length

    def largest(self, unit: Unit) -> int:
        """Return the most bytes that a frame of `unit` can take."""
        return 5 * len(unit) + 1024

    def check(self, frame: bytes | memoryview, unit: Unit) -> float:
        """Decode a frame once, a piece at a time; return its largest magnitude, or what its header allows.

        Raises:
            BitstreamError: it is not whole, not of `unit`, or not finite.
        """
        try:
            return check_frame(frame, MAX_ENTRY)
        except BitstreamError as error:
            raise type(error)(f"frame of {unit}: {error}") from error

    def decode(self, frame: bytes | memoryview, unit: Unit, out: F32) -> None:  # noqa: ARG002
        """Write a frame's entries to `out`. Raises BitstreamError if it is damaged."""
        decode_frame(frame, out=out)

    def add(self, frame: bytes | memoryview, weight: float, unit: Unit, out: F32) -> None:  # noqa: ARG002
        """Add `weight` times a frame's entries to `out`. Raises BitstreamError if it is damaged."""
        add_frame(frame, weight, out)


CODEC_FRAMES = CodecFrames()


def encode_exact(values: F32, units: Sequence[Unit], *, stored: bool = False) -> Iterator[bytes]:
    """Yield a bit-exact frame for each unit of the flat vector `values`: a snapshot, where `units` are all.

    A unit whose entries are all bfloat16 numbers, as those of a model that was kept in it, is coded as such.

    Args:
        values: float32 in layout order.
        units: what to encode.
        stored: whether entries are stored as they are rather than coded.
    """
    for unit in units:
        entries = values[unit.place]
        quantizer = BFloat16() if not stored and _are_bfloat16(entries) else Float32()
        yield encode_frame(entries, quantizer, raw=stored)


def rounded(values: F32, layout: Layout) -> F32:
    """Return the flat vector `values` with every tensor of floats rounded to bfloat16, but for the buffers."""
    out = values.copy()
    quantizer = BFloat16()
    for spec in layout.order:
        if spec.role is not Role.BUFFER and "float" in spec.dtype:
            place = layout.slots[spec.name]
            out[place] = quantizer.dequantize(quantizer.quantize(values[place]))
    return out


def _are_bfloat16(entries: F32) -> bool:
    bits = entries.view(np.uint32)
    low = any((each & LOW_BITS).any() for each in (bits[:LOOKED_AT], bits))
    return not low and bool(np.isfinite(entries).all())
