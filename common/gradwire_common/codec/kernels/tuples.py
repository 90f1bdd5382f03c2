# mypy: disable-error-code="arg-type, assignment, call-arg, no-any-return, return-value, var-annotated"
# numba's integers are NumPy's: np.int64 stands where Python has int.
"""Words of TUPLES to bits and back, the fast path: four words a flush, several words a look-up, four bitstreams side by
side.

Unguarded accesses, and why each is safe:

    encode  loads: indices below tuples.size - 3 and table indices below encoding.size, as the caller promises. Stores:
            eight bytes at a place at most ceil(bits so far / 8); the caller's `out` has room for MAX_CODE_LENGTH bits a
            tuple + 8.
    decode  a batch reads eight bytes at each place and moves it by at most 7 (56 bits); so `n` batches are safe while
            the furthest place is 8 + 7 n bytes before the end of the data. It writes eight bytes at each of LOOKUPS
            places at most ENTRY_SYMBOLS apart; so `n` batches are safe while (ENTRY_SYMBOLS * LOOKUPS) * n + 8 buckets
            are missing in each stream. Table indices are masked to the table's size. What a batch decodes beyond its
            stream's end is harmless, and noticed: the bytes a stream took are compared with the index in the end.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.bits import peek
from gradwire_common.codec.kernels.memory import leading_zeros, load64, shift_right, store64
from gradwire_common.codec.kernels.tables import ENTRY_SYMBOLS, RARE_FLAG

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

LOOKUPS = 4  # of at most 12 bits; with the 7 bits that a refill may leave they fit the 63 above the sentinel
BATCH_BUCKETS = ENTRY_SYMBOLS * LOOKUPS
BATCH_BYTES = 7

_1, _3, _7, _8, _16, _32, _48 = (np.uint64(n) for n in (1, 3, 7, 8, 16, 32, 48))
_BYTE, _HALF = np.uint64(255), np.uint64(65535)
_FLAG, _SENTINEL = np.uint64(RARE_FLAG), np.uint64(1 << 63)
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
    base, table, to = np.uint64(data.ctypes.data), np.uint64(decoding.ctypes.data), np.uint64(buckets.ctypes.data)
    mask = np.uint64(decoding.size - 1) << _3
    end = base + np.uint64(data.size)
    p0, p1 = base + np.uint64(starts[0]), base + np.uint64(starts[1])
    p2, p3 = base + np.uint64(starts[2]), base + np.uint64(starts[3])
    o0, o1, o2, o3 = (
        to + np.uint64(borders[0]),
        to + np.uint64(borders[1]),
        to + np.uint64(borders[2]),
        to + np.uint64(borders[3]),
    )
    f0, f1, f2, f3 = (
        to + np.uint64(borders[1]),
        to + np.uint64(borders[2]),
        to + np.uint64(borders[3]),
        to + np.uint64(borders[4]),
    )
    s0, s1, s2, s3 = _ZERO, _ZERO, _ZERO, _ZERO  # bits of the byte at each place that are read already
    n_batches = _batches(end, p0, p1, p2, p3, f0 - o0, f1 - o1, f2 - o2, f3 - o3)
    while n_batches > 0:
        before = o0 + o1 + o2 + o3
        w0, w1 = shift_right(load64(p0) | _SENTINEL, s0), shift_right(load64(p1) | _SENTINEL, s1)
        w2, w3 = shift_right(load64(p2) | _SENTINEL, s2), shift_right(load64(p3) | _SENTINEL, s3)
        for _ in range(n_batches):
            for _ in range(LOOKUPS):
                e0, e1 = load64(table + ((w0 << _3) & mask)), load64(table + ((w1 << _3) & mask))
                e2, e3 = load64(table + ((w2 << _3) & mask)), load64(table + ((w3 << _3) & mask))
                store64(o0, e0 >> _16)
                store64(o1, e1 >> _16)
                store64(o2, e2 >> _16)
                store64(o3, e3 >> _16)
                w0, w1, w2, w3 = shift_right(w0, e0), shift_right(w1, e1), shift_right(w2, e2), shift_right(w3, e3)
                o0 += (e0 >> _8) & _BYTE
                o1 += (e1 >> _8) & _BYTE
                o2 += (e2 >> _8) & _BYTE
                o3 += (e3 >> _8) & _BYTE
            z0, z1, z2, z3 = leading_zeros(w0), leading_zeros(w1), leading_zeros(w2), leading_zeros(w3)
            p0, p1, p2, p3 = p0 + (z0 >> _3), p1 + (z1 >> _3), p2 + (z2 >> _3), p3 + (z3 >> _3)
            s0, s1, s2, s3 = z0 & _7, z1 & _7, z2 & _7, z3 & _7
            w0, w1 = shift_right(load64(p0) | _SENTINEL, s0), shift_right(load64(p1) | _SENTINEL, s1)
            w2, w3 = shift_right(load64(p2) | _SENTINEL, s2), shift_right(load64(p3) | _SENTINEL, s3)
        if o0 + o1 + o2 + o3 == before:
            return False
        n_batches = _batches(end, p0, p1, p2, p3, f0 - o0, f1 - o1, f2 - o2, f3 - o3)
    places = (p0 - base) * _8 + s0, (p1 - base) * _8 + s1, (p2 - base) * _8 + s2, (p3 - base) * _8 + s3
    done = o0 - to, o1 - to, o2 - to, o3 - to
    for i in range(4):
        rest = buckets[np.int64(done[i]) : borders[i + 1]]
        if _finish(data, np.int64(places[i]), decoding, single, size, rest) != ends[i]:
            return False
    return True


@njit(cache=True, nogil=True, inline="always")
def _batches(end, p0, p1, p2, p3, m0, m1, m2, m3):  # type: ignore[no-untyped-def]
    """How many batches are safe from places p with m buckets missing."""
    room = end - max(max(p0, p1), max(p2, p3))
    missing = min(min(m0, m1), min(m2, m3))
    if room < np.uint64(8 + BATCH_BYTES) or missing < np.uint64(8 + BATCH_BUCKETS):
        return 0
    by_room = (np.int64(room) - 8) // BATCH_BYTES
    by_missing = (np.int64(missing) - 8) // BATCH_BUCKETS
    return min(by_room, by_missing)


@njit(cache=True, nogil=True)
def _finish(data: U8, place: int, decoding: U64, single: U64, size: int, rest: U8) -> int:
    """Read the last buckets of a stream from bit `place` on; return the byte where it ended, -1 where it failed."""
    mask, n = np.uint64(decoding.size - 1), 0
    base, to = np.uint64(data.ctypes.data), np.uint64(rest.ctypes.data)
    while n + 8 <= rest.size and (place >> 3) + 8 <= data.size:
        entry = decoding[shift_right(load64(base + np.uint64(place >> 3)), np.uint64(place & 7)) & mask]
        store64(to + np.uint64(n), entry >> _16)
        if entry == _ZERO:
            return -1
        place += np.int64(entry & _BYTE)
        n += np.int64((entry >> _8) & _BYTE)
    max_length = 64 - np.int64(leading_zeros(mask))
    while n < rest.size:
        entry = single[peek(data, place, max_length)]
        if entry == _ZERO:
            return -1
        place += np.int64(entry & _BYTE)
        for i in range(min(size, rest.size - n)):
            rest[n + i] = np.uint8((entry >> np.uint64(16 + 8 * i)) & _BYTE)
        n += size
    return (place + 7) >> 3
