# mypy: disable-error-code="arg-type, assignment, call-arg, no-any-return, return-value, var-annotated"
# numba's integers are NumPy's: np.int64 stands where Python has int.
"""Words of TUPLES to bits and back, the fast path: four words a flush, several words a look-up, four bitstreams side by
side.

Unguarded accesses, and why each is safe:

    encode  loads: indices below tuples.size - 3 and table indices below encoding.size, as the caller promises. Stores:
            eight bytes at a place at most ceil(bits so far / 8); the caller's `out` has room for MAX_CODE_LENGTH bits a
            tuple + 8.
    decode  a batch reads eight bytes at each place and moves it by at most 7; so `n` batches are safe while the
            furthest place is 8 + 7 n bytes before the end of the data. It writes eight bytes at each of LOOKUPS places
            at most ENTRY_SYMBOLS apart; so `n` batches are safe while (ENTRY_SYMBOLS * LOOKUPS) * n + 8 buckets are
            missing in each stream. The look-ups of `_finish` are guarded one by one. Table indices are masked to the
            table's size. What is decoded beyond a stream's end is harmless, and noticed: the bytes that a stream took
            are compared with the index in the end. A batch that moves nothing (bits that start no word) ends it all.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.bits import peek
from gradwire_common.codec.kernels.lookups import (
    HAS_BMI2,
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
from gradwire_common.codec.kernels.memory import load64, shift_left, shift_right, store64
from gradwire_common.codec.kernels.tables import ENTRY_SYMBOLS, RARE_FLAG

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

BATCH_BUCKETS = ENTRY_SYMBOLS * LOOKUPS
BATCH_BYTES = 7

_3, _7, _8, _16, _32, _48, _56, _63 = (np.uint64(n) for n in (3, 7, 8, 16, 32, 48, 56, 63))
_BYTE, _HALF = np.uint64(255), np.uint64(65535)
_FLAG = np.uint64(RARE_FLAG)
_ZERO = np.uint64(0)


@njit(cache=True, nogil=True)
def encode_tuples(tuples: U16, encoding: U64, out: U8, rare: I32) -> tuple[int, int]:
    """Write the codes of `tuples`; list the places of rare ones. Returns bytes written and rare tuples."""
    source, table, start = np.uint64(tuples.ctypes.data), np.uint64(encoding.ctypes.data), np.uint64(out.ctypes.data)
    to = start
    bits, n_bits, n_rare = _ZERO, _ZERO, 0
    n_quads = tuples.size // 4
    for quad in range(n_quads):
        four = load64(source)
        source += _8
        e0 = load64(table + ((four & _HALF) << _3))
        e1 = load64(table + (((four >> _16) & _HALF) << _3))
        e2 = load64(table + (((four >> _32) & _HALF) << _3))
        e3 = load64(table + ((four >> _48) << _3))
        if (e0 | e1 | e2 | e3) & _FLAG:
            for i, e in ((0, e0), (1, e1), (2, e2), (3, e3)):
                if e & _FLAG:
                    rare[n_rare] = 4 * quad + i
                    n_rare += 1
            e0, e1, e2, e3 = e0 & ~_FLAG, e1 & ~_FLAG, e2 & ~_FLAG, e3 & ~_FLAG
        l01, l23 = e0 + e1, e2 + e3
        c01, c23 = shift_right(e0, e1) | e1, shift_right(e2, e3) | e3
        length = (l01 + l23) & _BYTE
        bits = shift_right(bits, length) | shift_right(c01, l23) | c23
        n_bits += length
        store64(to, shift_right(bits, -n_bits))
        to += n_bits >> _3
        n_bits &= _7
    for i in range(4 * n_quads, tuples.size):
        e = load64(table + (np.uint64(tuples[i]) << _3))
        if e & _FLAG:
            rare[n_rare] = i
            n_rare += 1
            e = e & ~_FLAG
        length = e & _BYTE
        bits = shift_right(bits, length) | e
        n_bits += length
        store64(to, shift_right(bits, -n_bits))
        to += n_bits >> _3
        n_bits &= _7
    return np.int64(to - start) + np.int64(n_bits > _ZERO), n_rare


@njit(cache=True, nogil=True)
def decode_tuples(
    data: U8, starts: I64, ends: I64, decoding: U64, single: U64, size: int, buckets: U8, borders: I64
) -> bool:
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
        if _finish(data, read, decoding, single, size, rest) != ends[i]:
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
def _finish(data: U8, place: int, decoding: U64, single: U64, size: int, rest: U8) -> int:
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
        for i in range(min(size, rest.size - n)):
            rest[n + i] = np.uint8((entry >> np.uint64(8 * i)) & _BYTE)
        n += size
    return (place + 7) >> 3
