# mypy: disable-error-code="arg-type, assignment, call-arg, no-any-return, return-value, var-annotated"
# numba's integers are NumPy's: np.int64 stands where Python has int.
"""Words of RUNS to bits and back: the fast path skips zeros eight at a time, a word is one look-up.

Unguarded accesses, and why each is safe:

    encode  loads: eight buckets at a time, while at least eight are left. Stores: a word takes at most 12 + 8 bits, and
            what follows a rare bucket goes through two stores of at most 26; `out` has 8 bytes of slack after the most
            that the stream can take.
    decode  loads eight bytes at a place, while at least eight are left from there; else the bits are peeked at. The
            table index is masked to the table's size.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.memory import load64, shift_left, shift_right, store64, trailing_zeros
from gradwire_common.codec.kernels.words.bits import EXTRA_COUNT_BITS, peek, peek_extra

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]

WINDOW_BITS = 12 + 8  # a code, and the place within its class

_3, _7, _63 = (np.uint64(n) for n in (3, 7, 63))
_ZERO, _ONE = np.uint64(0), np.uint64(1)


@njit(cache=True, nogil=True)
def encode_runs(
    buckets: U8, n_coded: int, n_classes: int, shift: int, encoding: U64, beyond: I32, out: U8
) -> tuple[int, int]:
    """Write zero runs and what ends them; return the bytes written and how many of `beyond` were used."""
    source, start = np.uint64(buckets.ctypes.data), np.uint64(out.ctypes.data)
    to, bits, n_bits = start, _ZERO, _ZERO  # bits: those not yet written, from the low end
    longest, low_mask = n_classes << shift, (1 << shift) - 1
    zeros_word = encoding[n_classes * n_coded]
    zeros_length = zeros_word & _63
    zeros_code = shift_right(zeros_word, -zeros_length)
    i, run, n_beyond, n = 0, 0, 0, buckets.size
    while i < n:
        if i + 8 <= n:
            eight = load64(source + np.uint64(i))
            if eight == _ZERO:
                i += 8
                run += 8
                continue
            step = np.int64(trailing_zeros(eight) >> _3)
            i += step
            run += step
        elif buckets[i] == 0:
            i += 1
            run += 1
            continue
        while run >= longest:
            bits |= shift_left(zeros_code, n_bits)
            n_bits += zeros_length
            store64(to, bits)
            to += n_bits >> _3
            bits = shift_right(bits, n_bits & ~_7)
            n_bits &= _7
            run -= longest
        bucket = np.int64(buckets[i])
        entry = encoding[(run >> shift) * n_coded + bucket - 1]
        length = entry & _63
        code = shift_right(entry, -length) | shift_left(np.uint64(run & low_mask), length)
        bits |= shift_left(code, n_bits)
        n_bits += length + np.uint64(shift)
        if bucket == n_coded:
            store64(to, bits)
            to += n_bits >> _3
            bits = shift_right(bits, n_bits & ~_7)
            n_bits &= _7
            extra, count = np.uint64(np.int64(beyond[n_beyond]) - n_coded), _ZERO
            while shift_right(extra, count) != _ZERO:
                count += _ONE
            bits |= shift_left(count | extra << np.uint64(EXTRA_COUNT_BITS), n_bits)
            n_bits += count + np.uint64(EXTRA_COUNT_BITS)
            n_beyond += 1
        store64(to, bits)
        to += n_bits >> _3
        bits = shift_right(bits, n_bits & ~_7)
        n_bits &= _7
        run = 0
        i += 1
    while run > 0:
        bits |= shift_left(zeros_code, n_bits)
        n_bits += zeros_length
        store64(to, bits)
        to += n_bits >> _3
        bits = shift_right(bits, n_bits & ~_7)
        n_bits &= _7
        run -= longest
    return np.int64(to - start) + np.int64(n_bits > _ZERO), n_beyond


@njit(cache=True, nogil=True)
def decode_runs(
    data: U8, decoding: U64, n_coded: int, limit: int, size: int, fast: bool, places: I32, buckets: I32
) -> tuple[int, int]:
    """Read zero runs of `size` entries; list places and buckets of all entries that are not zero. Both paths' loop.

    Returns the bytes read and the entries listed; -1 bytes where bits start no word, the data ends, or a bucket exceeds
    `limit`.
    """
    mask, place, i, n = decoding.size - 1, 0, 0, 0
    while i < size:
        if fast and (place >> 3) + 8 <= data.size:
            eight = load64(np.uint64(data.ctypes.data) + np.uint64(place >> 3))
            window = np.int64(shift_right(eight, np.uint64(place & 7)))
        else:
            window = peek(data, place, WINDOW_BITS)
        entry = np.int64(decoding[window & mask])
        total, length = entry & 255, (entry >> 8) & 255
        if length == 0:
            return -1, n
        i += ((entry >> 16) & 0xFFFF) + ((window >> length) & ((1 << (total - length)) - 1))
        place += total
        bucket = entry >> 48
        if bucket == 0:
            continue
        if bucket == n_coded:
            extra, place = peek_extra(data, place)
            bucket += extra
            if extra < 0 or bucket > limit:
                return -1, n
        if i >= size:
            return -1, n
        places[n] = i
        buckets[n] = bucket
        n += 1
        i += 1
    if place > 8 * data.size:
        return -1, n
    return (place + 7) >> 3, n
