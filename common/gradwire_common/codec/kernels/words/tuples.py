"""Bits to words of TUPLES, the fast path: several words a look-up, four bitstreams side by side.

Unguarded accesses, and why each is safe:

    A batch reads eight bytes at each place and moves it by at most 7; so `n` batches are safe while the furthest place
    is 8 + 7 n bytes before the end of the data. It writes eight bytes at each of LOOKUPS places at most ENTRY_SYMBOLS
    apart; so `n` batches are safe while (ENTRY_SYMBOLS * LOOKUPS) * n + 8 buckets are missing in each stream. The
    look-ups of `finish` are guarded one by one. Table indices are masked to the table's size. What is decoded beyond a
    stream's end is harmless, and noticed: the bytes that a stream took are compared with the index in the end. A batch
    that moves nothing (bits that start no word) ends it all.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.native.batch_lookups import (
    INDEX_BITS,
    LOOKUPS,
    N_BATCHES,
    PLACE,
    STATE_SIZE,
    TABLE,
    TO,
    VALID,
    WINDOW,
    look_up_batches,
)
from gradwire_common.codec.kernels.native.memory import load64, shift_left, shift_right, store64
from gradwire_common.codec.kernels.native.processor import HAS_BMI2
from gradwire_common.codec.kernels.words.bits import peek
from gradwire_common.codec.kernels.words.tables import ENTRY_SYMBOLS

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

BATCH_BUCKETS = ENTRY_SYMBOLS * LOOKUPS
BATCH_BYTES = 7

_3, _8, _48, _56, _63 = (np.uint64(n) for n in (3, 8, 48, 56, 63))
_BYTE = np.uint64(255)
_ZERO = np.uint64(0)


@njit(cache=True, nogil=True)
def decode_tuples(data: U8, starts: I64, ends: I64, decoding: U64, single: U64, buckets: U8, borders: I64) -> bool:
    """Read four bitstreams at starts[i] of `data` into buckets[borders[i] : borders[i + 1]].

    Returns whether every stream ended at ends[i], to the byte.
    """
    state = np.zeros(STATE_SIZE, np.uint64)
    base, to, index_bits = np.uint64(data.ctypes.data), np.uint64(buckets.ctypes.data), 0
    while 1 << index_bits < decoding.size:
        index_bits += 1
    for i in range(4):
        state[PLACE + i] = base + np.uint64(starts[i])
        state[TO + i] = to + np.uint64(borders[i])
    state[TABLE], state[INDEX_BITS] = np.uint64(decoding.ctypes.data), np.uint64(index_bits)
    while True:
        room, missing, done = np.int64(1 << 62), np.int64(1 << 62), _ZERO
        for i in range(4):
            room = min(room, data.size - np.int64(state[PLACE + i] - base))
            missing = min(missing, borders[i + 1] - np.int64(state[TO + i] - to))
            done += state[TO + i]
        n_batches = min((room - 8) // BATCH_BYTES, (missing - 8) // BATCH_BUCKETS)
        if n_batches <= 0:
            break
        state[N_BATCHES] = np.uint64(n_batches)
        if HAS_BMI2:
            look_up_batches(np.uint64(state.ctypes.data))
        else:
            look_up_batches_anywhere(state)
        if state[TO] + state[TO + 1] + state[TO + 2] + state[TO + 3] == done:
            return False
    for i in range(4):
        read = 8 * np.int64(state[PLACE + i] - base) - np.int64(state[VALID + i] & _63)
        rest = buckets[np.int64(state[TO + i] - to) : borders[i + 1]]
        if finish(data, read, decoding, single, rest) != ends[i]:
            return False
    return True


@njit(cache=True, nogil=True)
def look_up_batches_anywhere(state: U64) -> None:
    """Do what lookups.look_up_batches does, in words that every processor has."""
    table, mask = state[TABLE], (np.uint64(1) << state[INDEX_BITS]) - np.uint64(1)
    for _ in range(np.int64(state[N_BATCHES])):
        for i in range(4):
            valid = state[VALID + i] & _63
            state[WINDOW + i] |= shift_left(load64(state[PLACE + i]), valid)
            state[PLACE + i] += (_63 - valid) >> _3
            state[VALID + i] = valid | _56
        for _ in range(LOOKUPS):
            for i in range(4):
                entry = load64(table + ((state[WINDOW + i] & mask) << _3))
                store64(state[TO + i], entry)
                length = (entry >> _48) & _63
                state[WINDOW + i] = shift_right(state[WINDOW + i], length)
                state[VALID + i] -= length
                state[TO + i] += entry >> _56


@njit(cache=True, nogil=True)
def finish(data: U8, place: int, decoding: U64, single: U64, rest: U8) -> int:
    """Read the last buckets of a stream from bit `place` on; return the byte where it ended, -1 where it failed."""
    mask, n = np.uint64(decoding.size - 1), 0
    base, to = np.uint64(data.ctypes.data), np.uint64(rest.ctypes.data)
    while n + 8 <= rest.size and (place >> 3) + 8 <= data.size:
        window = shift_right(load64(base + np.uint64(place >> 3)), np.uint64(place & 7))
        for _ in range(LOOKUPS):
            entry = decoding[window & mask]
            if entry == _ZERO:
                return -1
            store64(to + np.uint64(n), entry)
            length = (entry >> _48) & _63
            window = shift_right(window, length)
            place += np.int64(length)
            n += np.int64(entry >> _56)
            if n + 8 > rest.size:
                break
    max_length = 0
    while 1 << max_length < decoding.size:
        max_length += 1
    while n < rest.size:
        entry = single[peek(data, place, max_length)]
        if entry == _ZERO:
            return -1
        place += np.int64((entry >> _48) & _63)
        for _ in range(np.int64(entry >> _56)):
            if n < rest.size:
                rest[n] = np.uint8(entry & _BYTE)
            entry >>= _8
            n += 1
    return (place + 7) >> 3
