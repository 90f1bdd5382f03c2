"""Bits to words of TUPLES, the fast path of processors with AVX-512 VBMI2: two segments' bitstreams side by side.

Rounds of turns, each as many as the stream with the least room stands. What a stream misses when that is none is read
word by word; until the others have come so far, it follows one of them.

Unguarded accesses, and why each is safe:

    A turn reads eight bytes at each place after it has moved it by at most 7, REFILLS times, so `n` turns are safe
    while a place is 8 + TURN_BYTES n bytes before the end of the data; streams that follow read where another does.
    Indices have 12 bits, and so has the table. A turn finds at most TURN_BUCKETS buckets, and stores as many after what
    it found, so `n` turns are safe while TURN_BUCKETS n are missing in a stream; one that follows stores what the
    other does. Every entry has a word, since codes that leave bits without one have no packed table: so every turn
    moves every stream, and rounds come to an end.
    What is decoded beyond a stream's end is harmless, and noticed: the bytes that it took are compared in the end.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.layout import Book
from gradwire_common.codec.kernels.native.memory import leading_zeros
from gradwire_common.codec.kernels.native.processor import HAS_VBMI2
from gradwire_common.codec.kernels.native.vector_lookups import (
    CONTROL,
    MASK,
    MOST_STREAMS,
    N_TURNS,
    PACKED_SYMBOLS,
    PLACE,
    STATE_SIZE,
    TABLE,
    TO,
    TURN_BUCKETS,
    TURN_BYTES,
    WINDOW,
    decode_eight,
    decode_four,
)
from gradwire_common.codec.kernels.words.tables import LENGTH_BITS
from gradwire_common.codec.kernels.words.tuples import finish

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

TOP = np.uint64(1 << 63)  # a window whose bits are all used up, none of the byte at its place
ANY_TURNS = np.int64(1 << 62)


@njit(cache=True, nogil=True)
def decode_side_by_side(data: U8, starts: I64, ends: I64, book: Book, buckets: U8, borders: I64) -> int:
    """Read four or eight bitstreams at starts[i] of `data` into buckets[borders[i] : borders[i + 1]].

    `book` has a packed table. Returns how many streams ended at ends[i], to the byte, before the first that did not.
    """
    n_streams = starts.size
    state, going = np.zeros(STATE_SIZE, np.uint64), np.ones(n_streams, np.bool_)
    base, target = np.uint64(data.ctypes.data), np.uint64(buckets.ctypes.data)
    state[TABLE] = np.uint64(book.packed.ctypes.data)
    for i in range(n_streams):
        state[PLACE + i], state[WINDOW + i] = base + np.uint64(starts[i]), TOP
        state[TO + i] = target + np.uint64(borders[i])
    fill_constants(book.width, state)
    read, rest = np.empty(n_streams, np.int64), np.empty(n_streams, np.int64)
    while True:
        n, leader = ANY_TURNS, -1
        for i in range(n_streams):
            if not going[i]:
                continue
            read[i] = 8 * np.int64(state[PLACE + i] - base) + np.int64(leading_zeros(state[WINDOW + i]))
            rest[i] = np.int64(state[TO + i] - target)
            room = (data.size - 8 - (read[i] >> 3)) // TURN_BYTES
            n_left = min(room, (borders[i + 1] - rest[i]) // TURN_BUCKETS)
            going[i] = n_left > 0
            if going[i]:
                n, leader = min(n, n_left), i
        if leader < 0:
            break
        for i in range(n_streams):
            if not going[i]:
                for what in (PLACE, WINDOW, TO):
                    state[what + i] = state[what + leader]
        state[N_TURNS] = np.uint64(n)
        if HAS_VBMI2:
            if n_streams == MOST_STREAMS:
                decode_eight(np.uint64(state.ctypes.data))
            else:
                decode_four(np.uint64(state.ctypes.data))
    for i in range(n_streams):
        missing = buckets[rest[i] : borders[i + 1]]
        if finish(data, read[i], book.decoding, book.single, missing) != ends[i]:
            return i
    return n_streams


@njit(cache=True, nogil=True)
def fill_constants(width: int, state: U64) -> None:
    """Where the buckets of two entries start among 64 bits, and their bits; those that do not fit have none."""
    control, mask = 0, 0
    for i in range(PACKED_SYMBOLS):
        start = LENGTH_BITS + width * i
        control |= start << 8 * i | (start + 32 & 63) << 8 * (i + PACKED_SYMBOLS)
        if start + width <= 32:
            some = (1 << width) - 1
            mask |= some << 8 * i | some << 8 * (i + PACKED_SYMBOLS)
    for i in range(8):
        state[CONTROL + i], state[MASK + i] = np.uint64(control), np.uint64(mask)
