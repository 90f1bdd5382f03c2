# mypy: disable-error-code="arg-type, assignment, call-arg, no-any-return, return-value, var-annotated"
# numba's integers are NumPy's: np.int64 stands where Python has int.
"""Bits to words of TUPLES, the fast path of processors with AVX-512 VBMI2: two segments' bitstreams side by side.

Rounds of at most MOST_BATCHES batches: first all look-ups of all streams, then each stream's slots to buckets. A round
is as long as the bits that the shortest stream has left seem to last. A stream that finds more buckets in it than it
has room for gives them back. What a stream has left in the end is read word by word; until the others have ended too,
it follows one of them.

Unguarded accesses, and why each is safe:

    A batch reads eight bytes at each place after it has moved it by at most 7, so `n` batches are safe while a place is
    8 + 8 n bytes before the end of the data; streams that follow read where another does. Indices have 12 bits, and so
    has the table. A row has LOOKUPS slots for each of MOST_BATCHES; what is spread is whole sixteens of them.
    A batch finds at most BATCH_BUCKETS buckets, and spreading stores SPREAD_BYTES at a time: where a stream's border is
    not as far off, buckets go to a buffer that is, and are copied. Every entry has a word, since codes that leave bits
    without one have no packed table: so every batch moves every stream, and rounds come to an end.
    What is decoded beyond a stream's end is harmless, and noticed: the bytes that it took are compared in the end.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.layout import Book
from gradwire_common.codec.kernels.memory import leading_zeros
from gradwire_common.codec.kernels.tables import LENGTH_BITS, PACKED_INDEX_BITS, PACKED_SYMBOLS
from gradwire_common.codec.kernels.tuples import finish
from gradwire_common.codec.kernels.vector_lookups import (
    BATCH_BUCKETS,
    CONTROL,
    HAS_VBMI2,
    LOOKUPS,
    MASK,
    MOST_BATCHES,
    MOST_STREAMS,
    N_BATCHES,
    PLACE,
    ROW,
    SLOTS,
    SPREAD,
    SPREAD_BYTES,
    STATE_SIZE,
    TABLE,
    WINDOW,
    look_up_eight,
    look_up_four,
    spread,
)

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

BATCH_BYTES = 8  # at least what one moves a place by; seven do, eight are quickly divided by
BATCHES_SPREAD = SPREAD // LOOKUPS
BATCH_BITS = LOOKUPS * PACKED_INDEX_BITS  # at most
CAUTION = 0.94  # share of what seems to be left that a round takes
LEAST_BATCHES = BATCHES_SPREAD  # fewer are found sooner one by one
TOP = np.uint64(1 << 63)  # a window whose bits are all used up, none of the byte at its place


@njit(cache=True, nogil=True)
def decode_side_by_side(data: U8, starts: I64, ends: I64, book: Book, slots: U32, buckets: U8, borders: I64) -> int:
    """Read four or eight bitstreams at starts[i] of `data` into buckets[borders[i] : borders[i + 1]].

    `book` has a packed table, `slots` is scratch of SLOTS_SIZE. Returns how many streams ended at ends[i], to the byte,
    before the first that did not.
    """
    n_streams = starts.size
    state, to, read = np.zeros(STATE_SIZE, np.uint64), borders[:-1].copy(), 8 * starts
    going = np.ones(n_streams, np.bool_)
    base, target, row = np.uint64(data.ctypes.data), np.uint64(buckets.ctypes.data), np.uint64(slots.ctypes.data)
    address = np.uint64(state.ctypes.data)
    buffer = slots[MOST_STREAMS * ROW :].view(np.uint8)
    state[TABLE], state[SLOTS] = np.uint64(book.packed.ctypes.data), row
    for i in range(n_streams):
        state[PLACE + i], state[WINDOW + i] = base + np.uint64(starts[i]), TOP
    fill_constants(book.width, state)
    n_done, n_bits, per_bit = 0, 0, 1 / BATCH_BITS
    while True:
        n, leader = MOST_BATCHES, -1
        for i in range(n_streams):
            n_left = np.int64((8 * ends[i] - read[i]) * per_bit) if going[i] else 0
            room = (data.size - (read[i] >> 3) - 8) // BATCH_BYTES
            going[i] = n_left >= LEAST_BATCHES and room >= LEAST_BATCHES
            if going[i]:
                n, leader = min(n, n_left, room), i
        if leader < 0:
            break
        n -= n % BATCHES_SPREAD
        for i in range(n_streams):
            if not going[i]:
                state[PLACE + i], state[WINDOW + i] = state[PLACE + leader], state[WINDOW + leader]
        state[N_BATCHES] = np.uint64(n)
        if HAS_VBMI2:
            if n_streams == MOST_STREAMS:
                look_up_eight(address)
            else:
                look_up_four(address)
        n_spread = np.uint64(n // BATCHES_SPREAD)
        for i in range(n_streams):
            if not going[i]:
                continue
            near = to[i] + BATCH_BUCKETS * n + SPREAD_BYTES > borders[i + 1]
            start, count = np.uint64(buffer.ctypes.data) if near else target + np.uint64(to[i]), 0
            if HAS_VBMI2:
                count = np.int64(spread(row + np.uint64(4 * i * ROW), n_spread, start, address) - start)
            if near:
                if to[i] + count > borders[i + 1]:
                    going[i] = False
                    continue
                buckets[to[i] : to[i] + count] = buffer[:count]
            to[i] += count
            read_after = 8 * np.int64(state[PLACE + i] - base) + np.int64(leading_zeros(state[WINDOW + i]))
            n_done, n_bits = n_done + n, n_bits + read_after - read[i]
            read[i] = read_after
        if n_bits > 0:
            per_bit = CAUTION * n_done / n_bits
    for i in range(n_streams):
        rest = buckets[to[i] : borders[i + 1]]
        if finish(data, read[i], book.decoding, book.single, book.size, rest) != ends[i]:
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
