# mypy: disable-error-code="arg-type, assignment, return-value"
# numba's integers are NumPy's: np.int64 stands where Python has int.
"""The rare list of a segment: the buckets of its rare tuples, in order, with a code of their own."""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.bits import peek, peek_extra, put, put_extra
from gradwire_common.codec.kernels.scanning import next_place
from gradwire_common.codec.kernels.tables import RARE_BYTE

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]


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
    place: int,
    size: int,
    decoding: I64,
    n_coded: int,
    limit: int,
    buckets: U8,
    beyond: I32,
    n_beyond: int,
) -> tuple[int, int]:
    """Replace the RARE_BYTEs of one stream's `buckets` by what the list holds from bit `place` on.

    A bucket that is not coded becomes `n_coded`, and goes to `beyond` from `n_beyond` on. Returns the place after and
    the end of `beyond`; place -1 where bits start no code, the list ends, or a bucket exceeds `limit`.
    """
    max_length = 0
    while 1 << max_length < decoding.size:
        max_length += 1
    start = next_place(buckets, np.uint8(RARE_BYTE), 0)
    while start < buckets.size:
        for j in range(start, start + size):
            code = decoding[peek(data, place, max_length)]
            bucket, length = code >> 4, code & 15
            place += length
            if length == 0 or place > 8 * data.size:
                return -1, n_beyond
            if bucket == n_coded:
                extra, place = peek_extra(data, place)
                if extra < 0 or bucket + extra > limit or j >= buckets.size:
                    return -1, n_beyond
                buckets[j] = np.uint8(n_coded)
                beyond[n_beyond] = bucket + extra
                n_beyond += 1
            elif j < buckets.size:
                buckets[j] = np.uint8(bucket)
        start = next_place(buckets, np.uint8(RARE_BYTE), start + size)
    return place, n_beyond
