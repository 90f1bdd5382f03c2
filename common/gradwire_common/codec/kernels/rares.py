# mypy: disable-error-code="arg-type, assignment, return-value"
# numba's integers are NumPy's: np.int64 stands where Python has int.
"""The rare list of a segment: the buckets of its rare tuples, in order, with a code of their own."""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.bits import peek_extra, put, put_extra, window_at
from gradwire_common.codec.kernels.scanning import find_byte
from gradwire_common.codec.kernels.tables import RARE_BYTE

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
    """Write the buckets of the tuples that `rare` lists at bit `place` of `out`.

    `beyond` holds the buckets that are not coded, in order. Returns the place after, and how many of `beyond` were
    used.
    """
    last, n_beyond = lengths.size - 1, 0
    for i in range(rare.size):
        for j in range(np.int64(rare[i]) * size, (np.int64(rare[i]) + 1) * size):
            bucket = np.int64(buckets[j])
            place = put(out, place, np.int64(codes[bucket]), np.int64(lengths[bucket]))
            if bucket == last:
                place = put_extra(out, place, np.int64(beyond[n_beyond]) - last)
                n_beyond += 1
    return place, n_beyond


@njit(cache=True, nogil=True)
def decode_rares(
    data: U8,
    size: int,
    decoding: U16,
    n_coded: int,
    limit: int,
    fast: bool,
    borders: I64,
    buckets: U8,
    beyond: I32,
    places: I32,
) -> tuple[int, int]:
    """Replace the RARE_BYTEs of `buckets`, bitstreams between `borders`, by what the list holds.

    A bucket that is not coded becomes `n_coded`; it goes to `beyond`, where it stands to `places`. Returns the bytes
    read and how many are beyond; -1 bytes where bits start no code, the list ends, or a bucket exceeds `limit`.
    """
    mask, window, place, n_beyond = np.uint64(decoding.size - 1), np.uint64(0), 0, 0
    for stream in range(borders.size - 1):
        stop = borders[stream + 1]
        some = buckets[:stop]
        start = find_byte(some, np.uint8(RARE_BYTE), borders[stream], fast)
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
            start = find_byte(some, np.uint8(RARE_BYTE), start + size, fast)
    return (place + 7) >> 3, n_beyond
