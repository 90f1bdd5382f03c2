"""The rare list of a segment: the buckets of its rare tuples, in order, with a code of their own."""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.native.memory import shift_left, shift_right, store64
from gradwire_common.codec.kernels.scanning import find_byte
from gradwire_common.codec.kernels.words.bits import EXTRA_COUNT_BITS, peek_extra, window_at

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

WINDOW_CODES = 4  # of at most 12 bits, of the 56 that a window has at least


@njit(cache=True, nogil=True)
def encode_rares(
    buckets: U8, size: int, rare: I32, beyond: I32, codes: U32, lengths: U8, out: U8, place: int
) -> tuple[int, int]:
    """Write the `size` buckets from each place on that `rare` lists, at bit `place` of `out`, a flush for each bucket.

    `beyond` holds the buckets that are not coded, in order. Returns the place after, and how many of `beyond` were
    used. Stores write eight bytes at the byte of a place; `out` has room for RARE_BYTES a bucket + 8.
    """
    last, n_beyond, start = lengths.size - 1, 0, np.uint64(out.ctypes.data)
    to, n_bits = start + np.uint64(place >> 3), np.uint64(place & 7)
    bits = np.uint64(out[place >> 3]) & ((np.uint64(1) << n_bits) - np.uint64(1))
    for i in range(rare.size):
        first = np.int64(rare[i])
        for j in range(first, first + size):
            bucket = np.int64(buckets[j])
            bits |= shift_left(np.uint64(codes[bucket]), n_bits)
            n_bits += np.uint64(lengths[bucket])
            if bucket == last:
                extra, count = np.int64(beyond[n_beyond]) - last, 0
                while extra >> count:
                    count += 1
                bits |= shift_left(np.uint64(count | extra << EXTRA_COUNT_BITS), n_bits)
                n_bits += np.uint64(count + EXTRA_COUNT_BITS)
                n_beyond += 1
            store64(to, bits)
            to += n_bits >> np.uint64(3)
            bits = shift_right(bits, n_bits & np.uint64(56))
            n_bits &= np.uint64(7)
    return np.int64(to - start) * 8 + np.int64(n_bits), n_beyond


@njit(cache=True, nogil=True)
def decode_rares(
    data: U8,
    size: int,
    decoding: U16,
    n_coded: int,
    limit: int,
    rare_byte: np.uint8,
    fast: bool,
    borders: I64,
    buckets: U8,
    beyond: I32,
    places: I32,
) -> tuple[int, int]:
    """Replace every `rare_byte` of `buckets`, bitstreams between `borders`, by what the list holds.

    A bucket that is not coded becomes `n_coded`; it goes to `beyond`, where it stands to `places`. Returns the bytes
    read and how many are beyond; -1 bytes where bits start no code, the list ends, or a bucket exceeds `limit`.
    """
    mask, window, place, n_beyond = np.uint64(decoding.size - 1), np.uint64(0), 0, 0
    for stream in range(borders.size - 1):
        stop = borders[stream + 1]
        some = buckets[:stop]
        start = find_byte(some, rare_byte, borders[stream], fast)
        while start < stop:
            for i in range(size):
                if i % WINDOW_CODES == 0:
                    window = window_at(data, place, fast)
                code = np.int64(decoding[window & mask])
                bucket, length, j = code >> 4, code & 15, start + i
                if length == 0:
                    return -1, n_beyond
                place += length
                window >>= np.uint64(length)
                if bucket == n_coded:
                    extra, place = peek_extra(data, place)
                    if extra < 0 or bucket + extra > limit or j >= stop:
                        return -1, n_beyond
                    beyond[n_beyond], places[n_beyond] = bucket + extra, j
                    n_beyond += 1
                    window = window_at(data, place, fast)
                if j < stop:
                    buckets[j] = np.uint8(bucket)
            if place > 8 * data.size:
                return -1, n_beyond
            start = find_byte(some, rare_byte, start + size, fast)
    return (place + 7) >> 3, n_beyond
