"""The portable path: words to bits and back, every access checked. The fast path makes and reads the same bytes.

Runs are read by runs.decode_runs on both, on the fast path what is left near the ends of bitstreams.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.words.bits import peek, put, put_extra
from gradwire_common.codec.kernels.words.tables import RARE_FLAG

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]


@njit(cache=True, nogil=True)
def encode_tuples(tuples: U16, encoding: U64, out: U8, rare: I32) -> tuple[int, int]:
    """Write the codes of `tuples`; list the places of rare ones. Returns bytes written and rare tuples."""
    place, n_rare = 0, 0
    for i in range(tuples.size):
        entry = encoding[tuples[i]]
        low = np.int64(entry & np.uint64(255))
        length = low & 63
        if low & RARE_FLAG:
            rare[n_rare] = i
            n_rare += 1
        place = put(out, place, np.int64(entry >> np.uint64(64 - length)), length)
    return (place + 7) >> 3, n_rare


@njit(cache=True, nogil=True)
def encode_rares(
    buckets: U8, size: int, rare: I32, beyond: I32, codes: U32, lengths: U8, out: U8, place: int
) -> tuple[int, int]:
    """Write the `size` buckets from each place on that `rare` lists, at bit `place` of `out`.

    `beyond` holds the buckets that are not coded, in order. Returns the place after, and how many of `beyond` were
    used.
    """
    last, n_beyond = lengths.size - 1, 0
    for i in range(rare.size):
        for j in range(np.int64(rare[i]), np.int64(rare[i]) + size):
            bucket = np.int64(buckets[j])
            place = put(out, place, np.int64(codes[bucket]), np.int64(lengths[bucket]))
            if bucket == last:
                place = put_extra(out, place, np.int64(beyond[n_beyond]) - last)
                n_beyond += 1
    return place, n_beyond


@njit(cache=True, nogil=True)
def decode_tuples(data: U8, single: U64, max_length: int, buckets: U8) -> int:
    """Read words until `buckets` is full; return the bytes read, -1 where bits start no word or the data ends."""
    place, n = 0, 0
    while n < buckets.size:
        entry = single[peek(data, place, max_length)]
        length = np.int64((entry >> np.uint64(48)) & np.uint64(255))
        place += length
        if length == 0 or place > 8 * data.size:
            return -1
        for _ in range(np.int64(entry >> np.uint64(56))):
            if n < buckets.size:
                buckets[n] = np.uint8(entry & np.uint64(255))
            entry >>= np.uint64(8)
            n += 1
    return (place + 7) >> 3


@njit(cache=True, nogil=True)
def encode_runs(
    buckets: U8, n_coded: int, n_classes: int, shift: int, encoding: U64, beyond: I32, out: U8
) -> tuple[int, int]:
    """Write zero runs and what ends them; return the bytes written and how many of `beyond` were used."""
    place, run, n_beyond = 0, 0, 0
    longest = n_classes << shift
    for i in range(buckets.size):
        bucket = np.int64(buckets[i])
        if bucket == 0:
            run += 1
            if run == longest:
                place = _put_word(out, place, encoding[n_classes * n_coded])
                run = 0
            continue
        place = _put_word(out, place, encoding[(run >> shift) * n_coded + bucket - 1])
        place = put(out, place, run & ((1 << shift) - 1), shift)
        if bucket == n_coded:
            place = put_extra(out, place, np.int64(beyond[n_beyond]) - n_coded)
            n_beyond += 1
        run = 0
    if run > 0:
        place = _put_word(out, place, encoding[n_classes * n_coded])
    return (place + 7) >> 3, n_beyond


@njit(cache=True, nogil=True)
def _put_word(out: U8, place: int, entry: np.uint64) -> int:
    length = np.int64(entry & np.uint64(63))
    return put(out, place, np.int64(entry >> np.uint64(64 - length)), length)
