"""Frames of the codec: as many entries as their unit, added entry by entry. Exact ones carry all that is no update."""

from collections.abc import Iterator, Sequence

from gradwire_common.codec.formats import Float32
from gradwire_common.codec.frames import HEADER_MAX, add_frame, check_frame, decode_frame, encode_frame, read_header
from gradwire_common.errors import BitstreamError
from gradwire_common.layout.manifest import Unit
from gradwire_common.methods.method import F32, MAX_ENTRY

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

    Args:
        values: float32 in layout order.
        units: what to encode.
        stored: whether entries are stored as they are rather than coded.
    """
    for unit in units:
        yield encode_frame(values[unit.place], Float32(), raw=stored)
