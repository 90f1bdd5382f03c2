"""Words of RUNS to bits and back, the fast path: what is not zero is listed 64 buckets at a time, a word a look-up.

Unguarded accesses, and why each is safe:

    encode  loads: 64 buckets at a time, while so many are left. Stores: a word takes at most 12 + 8 bits, and what
            follows a rare bucket at most 26, behind seven; `out` has 8 bytes of slack after the most that the stream
            can take.
    decode  together: loads eight bytes at a place of a stream. A word has at most WINDOW_BITS and `longest` entries, so
            `n` words are safe while n WINDOW_BITS + 64 bits and more than n longest entries are left in each stream;
            what tells a bucket that is not coded is read where 64 bits are left behind its word, and then all this is
            looked at anew. Table indices are masked to the table's size.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.layout import N_STREAMS
from gradwire_common.codec.kernels.native.memory import (
    load64,
    matches64,
    shift_left,
    shift_right,
    store64,
    trailing_zeros,
)
from gradwire_common.codec.kernels.scanning import GROUP
from gradwire_common.codec.kernels.words.bits import EXTRA_COUNT_BITS, EXTRA_MAX_BITS, peek, peek_extra
from gradwire_common.codec.kernels.words.tables import NO_WORD, UNUSUAL

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]

WINDOW_BITS = 12 + 8  # a code, and the place within its class

_3, _7, _8, _16, _32, _48, _63 = (np.uint64(n) for n in (3, 7, 8, 16, 32, 48, 63))
DAMAGED = -8  # a bit of no byte
_BYTE, _TWO_BYTES, _31 = np.uint64(0xFF), np.uint64(0xFFFF), np.uint64(31)
_FLAG, _UNUSUAL, _BUCKET = np.uint64(UNUSUAL), np.uint64(UNUSUAL << 48), np.uint64(UNUSUAL - 1)
_ZERO, _ONE = np.uint64(0), np.uint64(1)


@njit(cache=True, nogil=True)
def encode_runs(
    buckets: U8, n_coded: int, n_classes: int, shift: int, encoding: U64, beyond: I32, listed: I32, out: U8
) -> tuple[int, int]:
    """Write zero runs and what ends them; return the bytes written and how many of `beyond` were used.

    `listed` is scratch, as long as `buckets`.
    """
    to, bits, n_bits = np.uint64(out.ctypes.data), _ZERO, _ZERO  # bits: those not yet written, from the low end
    longest, low_mask = n_classes << shift, (1 << shift) - 1
    zeros_word = encoding[n_classes * n_coded]
    zeros_length = zeros_word & _63
    zeros_code = shift_right(zeros_word, -zeros_length)
    n_listed, before, n_beyond = list_nonzero(buckets, listed), -1, 0
    for i in range(n_listed):
        run = np.int64(listed[i]) - before - 1
        before = np.int64(listed[i])
        while run >= longest:
            to, bits, n_bits = _put(zeros_code, zeros_length, to, bits, n_bits)
            run -= longest
        bucket = np.int64(buckets[before])
        entry = encoding[(run >> shift) * n_coded + bucket - 1]
        length = entry & _63
        code = shift_right(entry, -length) | shift_left(np.uint64(run & low_mask), length)
        to, bits, n_bits = _put(code, length + np.uint64(shift), to, bits, n_bits)
        if bucket == n_coded:
            extra, count = np.uint64(np.int64(beyond[n_beyond]) - n_coded), _ZERO
            while shift_right(extra, count) != _ZERO:
                count += _ONE
            code, length = count | extra << np.uint64(EXTRA_COUNT_BITS), count + np.uint64(EXTRA_COUNT_BITS)
            to, bits, n_bits = _put(code, length, to, bits, n_bits)
            n_beyond += 1
    run = buckets.size - before - 1
    while run > 0:
        to, bits, n_bits = _put(zeros_code, zeros_length, to, bits, n_bits)
        run -= longest
    return np.int64(to - np.uint64(out.ctypes.data)) + np.int64(n_bits > _ZERO), n_beyond


@njit(cache=True, nogil=True)
def _put(
    code: np.uint64, length: np.uint64, to: np.uint64, bits: np.uint64, n_bits: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Write `code` behind the `n_bits` (at most 7) of `bits` that belong to the byte at `to`; return all three anew."""
    bits |= shift_left(code, n_bits)
    n_bits += length
    store64(to, bits)
    return to + (n_bits >> _3), shift_right(bits, n_bits & ~_7), n_bits & _7


@njit(cache=True, nogil=True)
def list_nonzero(buckets: U8, listed: I32) -> int:
    """List the places of buckets that are not 0; return how many."""
    n, address, whole = 0, np.uint64(buckets.ctypes.data), buckets.size // GROUP * GROUP
    for start in range(0, whole, GROUP):
        found = ~matches64(address + np.uint64(start), np.uint8(0))
        while found != _ZERO:
            listed[n] = start + np.int64(trailing_zeros(found))
            found &= found - _ONE
            n += 1
    for i in range(whole, buckets.size):
        if buckets[i] != 0:
            listed[n] = i
            n += 1
    return n


@njit(cache=True, nogil=True)
def decode_runs(
    data: U8, place: int, first: int, decoding: U64, n_coded: int, limit: int, size: int, listed: I32, buckets: I32
) -> tuple[int, int]:
    """Read the words of the entries `first` to `size` from bit `place` on, every access checked.

    Lists entries that are not zero, and their buckets. Returns the bit reached and how many are listed; DAMAGED where
    bits start no word, the data ends, or a bucket exceeds `limit`.
    """
    mask, i, n = decoding.size - 1, first, 0
    while i < size:
        window = peek(data, place, WINDOW_BITS)
        entry = decoding[window & mask]
        bucket, length = np.int64(entry >> _48) & ~UNUSUAL, np.int64(entry >> _8 & _BYTE)
        i += np.int64(entry >> _16 & _TWO_BYTES) + ((window >> length) & np.int64(entry >> _32 & _BYTE))
        place += np.int64(entry & _BYTE)
        if bucket == 0:
            continue
        if bucket == NO_WORD:
            return DAMAGED, n
        if bucket == n_coded:
            extra, place = peek_extra(data, place)
            bucket += extra
            if extra < 0 or bucket > limit:
                return DAMAGED, n
        if i >= size:
            return DAMAGED, n
        listed[n] = i
        buckets[n] = bucket
        n += 1
        i += 1
    return DAMAGED if place > 8 * data.size else place, n


@njit(cache=True, nogil=True)
def decode_runs_together(
    data: U8,
    ends: I64,
    decoding: U64,
    longest: int,
    changes: F32,
    adding: bool,
    places: I64,
    entries: I64,
    out: F32,
    borders: I64,
    listed: I32,
    beyond: I32,
) -> int:
    """Read words of four bitstreams, each as many as the others, and put what they become in `out`.

    Args:
        data: All streams.
        ends: The byte where each ends.
        decoding: The table of `tables.fill_run_decoding`.
        longest: Most entries of a word.
        changes: What an entry becomes, or adds, by bucket; nothing for 0, and for that of all that are not coded.
        adding: Whether it adds.
        places: The bit where each begins; where it ended is filled in.
        entries: The entry of `out` where each begins; where it ended is filled in.
        out: What all become.
        borders: Stream i has out[borders[i] : borders[i + 1]].
        listed: Receives the entries whose buckets are not coded; nothing was put there.
        beyond: Receives these buckets.

    Returns:
        How many are listed; -1 where bits start no word.
    """
    base, table, mask = np.uint64(data.ctypes.data), np.uint64(decoding.ctypes.data), np.uint64(decoding.size - 1)
    p0, p1, p2, p3 = np.uint64(places[0]), np.uint64(places[1]), np.uint64(places[2]), np.uint64(places[3])
    i0, i1, i2, i3 = np.uint64(entries[0]), np.uint64(entries[1]), np.uint64(entries[2]), np.uint64(entries[3])
    n = 0
    while 0 <= n <= listed.size - N_STREAMS:
        room, missing = 8 * ends[0] - np.int64(p0), borders[1] - np.int64(i0)
        room, missing = min(room, 8 * ends[1] - np.int64(p1)), min(missing, borders[2] - np.int64(i1))
        room, missing = min(room, 8 * ends[2] - np.int64(p2)), min(missing, borders[3] - np.int64(i2))
        room, missing = min(room, 8 * ends[3] - np.int64(p3)), min(missing, borders[4] - np.int64(i3))
        n_words = min((room - 64) // WINDOW_BITS, (missing - 1) // longest)
        if n_words <= 0:
            break
        for _ in range(n_words):
            q0, j0, e0 = _run(base, p0, i0, table, mask)
            q1, j1, e1 = _run(base, p1, i1, table, mask)
            q2, j2, e2 = _run(base, p2, i2, table, mask)
            q3, j3, e3 = _run(base, p3, i3, table, mask)
            b0, b1, b2, b3 = e0 >> _48, e1 >> _48, e2 >> _48, e3 >> _48
            unusual = (e0 | e1 | e2 | e3) >= _UNUSUAL
            if unusual:
                q0, n = _beyond(base, q0, j0, b0, n, listed, beyond)
                q1, n = _beyond(base, q1, j1, b1, n, listed, beyond)
                q2, n = _beyond(base, q2, j2, b2, n, listed, beyond)
                q3, n = _beyond(base, q3, j3, b3, n, listed, beyond)
                if n < 0:
                    break
                b0, b1, b2, b3 = b0 & _BUCKET, b1 & _BUCKET, b2 & _BUCKET, b3 & _BUCKET
            c0, c1, c2, c3 = changes[b0], changes[b1], changes[b2], changes[b3]
            if adding:
                c0, c1, c2, c3 = out[j0] + c0, out[j1] + c1, out[j2] + c2, out[j3] + c3
            out[j0], out[j1], out[j2], out[j3] = c0, c1, c2, c3
            p0, p1, p2, p3 = q0, q1, q2, q3
            i0, i1 = j0 + np.uint64(b0 != _ZERO), j1 + np.uint64(b1 != _ZERO)
            i2, i3 = j2 + np.uint64(b2 != _ZERO), j3 + np.uint64(b3 != _ZERO)
            if unusual:  # longer than a word is
                break
    places[0], places[1], places[2], places[3] = p0, p1, p2, p3
    entries[0], entries[1], entries[2], entries[3] = i0, i1, i2, i3
    return n


@njit(cache=True, nogil=True)
def _run(
    base: np.uint64, place: np.uint64, i: np.uint64, table: np.uint64, mask: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Look up the word at bit `place`: the place behind it, the entry behind its zeros, and what the table says."""
    window = shift_right(load64(base + (place >> _3)), place & _7)
    found = load64(table + ((window & mask) << _3))
    more = shift_right(window, (found >> _8) & _63) & (found >> _32) & _BYTE
    return place + (found & _BYTE), i + ((found >> _16) & _TWO_BYTES) + more, found


@njit(cache=True, nogil=True)
def _beyond(
    base: np.uint64, place: np.uint64, i: np.uint64, bucket: np.uint64, n: int, listed: I32, beyond: I32
) -> tuple[np.uint64, int]:
    """Read which bucket it is, if it is not coded, and list it; return the place behind that, and how many are listed.

    -1 are where `n` says so, or bits start no word or no such bucket.
    """
    if bucket < _FLAG or n < 0:
        return place, n
    window = shift_right(load64(base + (place >> _3)), place & _7)
    n_bits = window & _31
    if bucket == _FLAG | np.uint64(NO_WORD) or n_bits > np.uint64(EXTRA_MAX_BITS):
        return place, -1
    extra = shift_right(window, np.uint64(EXTRA_COUNT_BITS)) & (shift_left(_ONE, n_bits) - _ONE)
    listed[n], beyond[n] = i, (bucket & _BUCKET) + extra
    return place + np.uint64(EXTRA_COUNT_BITS) + n_bits, n + 1
