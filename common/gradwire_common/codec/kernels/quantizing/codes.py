"""The codes of small floating-point grids (minifloat.py): to buckets and raw bits, and back.

Every loop has lanes of one width, as there.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.grids import Grid
from gradwire_common.codec.kernels.native.raw_vectors import join_groups
from gradwire_common.codec.kernels.raws import GROUP, raw_bytes, unpack_raws

U8 = npt.NDArray[np.uint8]


@njit(cache=True, nogil=True)
def split_codes(codes: U8, grid: Grid, buckets: U8) -> int:
    """Fill `buckets`, and leave the raw bits in `codes` where there are any; return the largest bucket."""
    if grid.raw_bits == 0:
        return _split_signs(codes, buckets)
    if grid.raw_bits == 2:  # what float8 has mostly
        return _split(codes, 2, grid, buckets)
    if grid.raw_bits == 3:
        return _split(codes, 3, grid, buckets)
    return _split(codes, grid.raw_bits, grid, buckets)


@njit(cache=True, nogil=True)
def _split_signs(codes: U8, buckets: U8) -> int:
    """Without raw bits: codes 0 and 1 are bucket 0, any other is one more than its bucket."""
    largest = np.uint8(0)
    for i in range(codes.size):
        bucket = np.uint8(max(codes[i], np.uint8(1)) - np.uint8(1))
        largest = max(largest, bucket)
        buckets[i] = bucket
    return np.int64(largest)


@njit(cache=True, nogil=True, inline="always")
def _split(codes: U8, raw_bits: int, grid: Grid, buckets: U8) -> int:
    """With raw bits, which are the code's lower bits; the sign of zero is dropped.

    There are at most 124 magnitude buckets, so what is below zero is, as a byte, larger than what it wraps to. Bytes
    stay bytes: compilers see through no wider ones here. Uncompiled, NumPy may warn that they overflow.
    """
    origin, modulus, mask = np.uint8(grid.origin), np.uint8(grid.modulus), np.uint8((1 << raw_bits) - 1)
    largest = np.uint8(0)
    for i in range(codes.size):
        code = codes[i]
        bucket = np.uint8((np.uint8(code >> raw_bits) - origin) & 255)
        bucket = min(bucket, np.uint8((bucket + modulus) & 255))
        largest = max(largest, bucket)
        buckets[i] = bucket
        codes[i] = np.uint8(0) if code == np.uint8(1) else np.uint8(code & mask)
    return np.int64(largest)


@njit(cache=True, nogil=True)
def join_codes(buckets: U8, raws: U8, grid: Grid) -> int:
    """Undo `split_codes`: leave the codes in `buckets`. Return the largest."""
    if grid.raw_bits == 0:
        return _join_signs(buckets)
    if grid.raw_bits == 2:
        return _join(buckets, raws, 2, grid)
    if grid.raw_bits == 3:
        return _join(buckets, raws, 3, grid)
    return _join(buckets, raws, grid.raw_bits, grid)


@njit(cache=True, nogil=True)
def _join_signs(buckets: U8) -> int:
    """Without raw bits; zero gets code 1, since nothing looks at its sign."""
    largest = np.uint8(0)
    for i in range(buckets.size):
        code = np.uint8(buckets[i] + np.uint8(1))
        largest = max(largest, code)
        buckets[i] = code
    return np.int64(largest)


@njit(cache=True, nogil=True, inline="always")
def _join(buckets: U8, raws: U8, raw_bits: int, grid: Grid) -> int:
    """With raw bits."""
    origin, modulus, factor, largest = np.int64(grid.origin), np.int64(grid.modulus), 1 << raw_bits, np.uint8(0)
    for i in range(buckets.size):
        high = np.uint8((np.int64(buckets[i]) + origin) & 255)
        high = min(high, np.uint8((np.int64(high) - modulus) & 255))
        code = np.uint8(np.uint8((np.int64(high) * factor) & 255) | raws[i])
        largest = max(largest, code)
        buckets[i] = code
    return np.int64(largest)


@njit(cache=True, nogil=True)
def join_packed(buckets: U8, packed: U8, grid: Grid, fast: bool, raws: U8) -> bool:
    """Do the same with raw bits as `pack_raws` packed them; return whether all codes exist. `raws` is scratch."""
    largest, done = np.uint8(0), 0
    if fast and 2 <= grid.raw_bits <= 4:  # what float8 has; whole groups in one pass, with literal shifts
        done = buckets.size // GROUP * GROUP
        if grid.raw_bits == 2:
            largest = _join_groups(buckets, packed, 2, grid)
        elif grid.raw_bits == 3:
            largest = _join_groups(buckets, packed, 3, grid)
        else:
            largest = _join_groups(buckets, packed, 4, grid)
    rest = buckets[done:]
    raws = raws[: rest.size]
    if grid.raw_bits > 0:
        unpack_raws(packed[raw_bytes(done, grid.raw_bits) :], grid.raw_bits, fast, raws)
    largest = max(largest, np.uint8(join_codes(rest, raws, grid)))
    return bool(np.int64(largest) <= 2 * grid.largest + 1)


@njit(cache=True, nogil=True, inline="always")
def _join_groups(buckets: U8, packed: U8, raw_bits: int, grid: Grid) -> np.uint8:
    """Do whole groups; return the largest code. Loads and stores stay within the groups."""
    raw, bucket, n = np.uint64(packed.ctypes.data), np.uint64(buckets.ctypes.data), np.uint64(buckets.size // GROUP)
    return join_groups(raw_bits, raw, bucket, n, np.uint8(grid.origin), np.uint8((grid.origin - grid.modulus) & 255))
