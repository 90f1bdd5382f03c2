"""The body of a sparse frame: which entries of a unit are sent, and what they are.

    for each tensor: [the entries sent, varint, where that is not known] [levels] | stream | values as float32, if exact

Levels are the used ones of `n_levels`: a bit each, then float32. The stream holds the places of every tensor, then the
symbols of its values among the used levels. Where `n_levels` is 0, values are float32 behind the stream's length.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.headers import build_varint
from gradwire_common.errors import BitstreamError
from gradwire_common.methods.envelope import read_varint
from gradwire_common.methods.method import F32
from gradwire_common.methods.sparse.blocks import Blocks
from gradwire_common.methods.sparse.coder import StreamReader, StreamWriter
from gradwire_common.methods.sparse.levels import quantize

I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
Bins = Callable[[F32, int], tuple[U8, F32]]
LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Sent:
    """The entries of one tensor that are sent.

    Attributes:
        blocks: how the tensor is cut.
        counts: (n_blocks,) how many each block sends.
        places: of all blocks, ascending in each.
        values: float32, as they are.
    """

    blocks: Blocks
    counts: I64
    places: I64
    values: F32

    def indices(self) -> I64:
        """Return where in the blocks, one after the other, the entries are."""
        return np.repeat(np.arange(self.counts.size) * self.blocks.length, self.counts) + self.places

    def scatter(self, values: F32) -> F32:
        """Return a tensor's entries, (n,), that are `values` where they are sent, and else 0."""
        rows = np.zeros(self.blocks.n_blocks * self.blocks.length, np.float32)
        rows[self.indices()] = values
        return self.blocks.join(rows)


def build_body(
    tensors: Sequence[Sent], n_levels: int, *, counted: bool, bins_of: Bins = quantize
) -> tuple[bytes, list[F32]]:
    """Return the body, and the values of every tensor as they will be decoded.

    Args:
        tensors: what is sent of each.
        n_levels: 2 to 256; 0 for values as they are.
        counted: whether the number of entries travels; there is one block a tensor then.
        bins_of: returns each value's bin below `n_levels`, uint8, and what the bins are decoded as, float32.
    """
    side, stream, decoded = bytearray(), StreamWriter(), []
    for sent in tensors:
        if counted:
            side += build_varint(sent.places.size)
        stream.places(sent.places, sent.counts, sent.blocks.length)
        if not n_levels:
            decoded.append(sent.values)
            continue
        bins, levels = bins_of(sent.values, n_levels)
        used = np.bincount(bins, minlength=n_levels) > 0
        side += build_levels(levels, used)
        stream.symbols((np.cumsum(used) - 1).astype(np.uint8)[bins], int(used.sum()))
        decoded.append(levels[bins])
    if n_levels:
        return bytes(side) + stream.end(), decoded
    places = stream.end()
    exact = b"".join(values.astype("<f4").tobytes() for values in decoded)
    return bytes(side) + LENGTH.pack(len(places)) + places + exact, decoded


def read_body(body: memoryview, blocks: Sequence[Blocks], k: Sequence[int] | None, n_levels: int) -> list[Sent]:
    """Return what `build_body` was given, values as they are decoded.

    Args:
        body: all of it.
        blocks: how each tensor is cut.
        k: entries that each block of a tensor sends; None where they were counted.
        n_levels: as then.

    Raises:
        BitstreamError: it is no such body.
    """
    place, counts, levels = 0, [], []
    for index, cut in enumerate(blocks):
        n = 0
        if k is None:
            n, place = read_varint(body, place)
        each = n if k is None else k[index]
        if each > cut.length:
            raise BitstreamError(f"got {each} entries of a block of {cut.length}")
        counts.append(np.full(cut.n_blocks, each, np.int64))
        if n_levels:
            some, _, place = read_levels(body, place, n_levels)
            levels.append(some)
    if n_levels:
        stream = StreamReader(body[place:])
    else:
        (length,) = LENGTH.unpack(_part(body, place, LENGTH.size))
        stream = StreamReader(_part(body, place + LENGTH.size, length))
        place += LENGTH.size + length
    tensors = []
    for index, (cut, some_counts) in enumerate(zip(blocks, counts, strict=True)):
        places = stream.places(some_counts, cut.length)
        if n_levels:
            if places.size and not levels[index].size:
                raise BitstreamError("got entries without levels")
            values = levels[index][stream.symbols(places.size, levels[index].size)]
        else:
            values = np.frombuffer(_part(body, place, 4 * places.size), "<f4").astype(np.float32)
            place += 4 * places.size
        tensors.append(Sent(cut, some_counts, places, values))
    stream.end()
    if not n_levels and place != len(body):
        raise BitstreamError(f"got {len(body)} bytes, want {place}")
    return tensors


def build_levels(levels: F32, used: npt.NDArray[np.bool_]) -> bytes:
    """Write which of some levels are used, a bit each, and those as float32."""
    return np.packbits(used, bitorder="little").tobytes() + levels[used].astype("<f4").tobytes()


def read_levels(body: memoryview, place: int, n_levels: int) -> tuple[F32, npt.NDArray[np.bool_], int]:
    """Return the used levels at `place`, which of `n_levels` they are, and the place after. Raises BitstreamError."""
    n_bytes = -(-n_levels // 8)
    bits = np.unpackbits(np.frombuffer(_part(body, place, n_bytes), np.uint8), bitorder="little").astype(bool)
    if bits[n_levels:].any():
        raise BitstreamError(f"got levels beyond the {n_levels} that there are")
    place += n_bytes
    n_used = int(bits.sum())
    levels = np.frombuffer(_part(body, place, 4 * n_used), "<f4").astype(np.float32)
    return levels, bits[:n_levels], place + 4 * n_used


def _part(body: memoryview, place: int, n_bytes: int) -> memoryview:
    if place + n_bytes > len(body):
        raise BitstreamError(f"got {len(body)} bytes, want at least {place + n_bytes}")
    return body[place : place + n_bytes]
