"""float32 and bfloat16: entries to exponents and planes of raw bytes, and back, each in one pass.

The last plane holds the sign and the upper seven bits of the fraction; float32 has two more before it, lower bits
first. Lanes have one width where they can, as in `minifloat.py`.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.grids import FLOAT32, MAGNITUDE_MASK, Grid

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]

SIGN = np.int32(-0x80000000)  # bit of a float32
LARGEST = np.int32(0x7F7F)  # upper half of the largest finite bfloat16
LOW, HIGH = np.uint8(127), np.uint8(128)


@njit(cache=True, nogil=True)
def split_floats(x: F32, grid: Grid, buckets: U8, raws: npt.NDArray[np.uint8]) -> int:
    """Split finite `x` in `buckets` and `raws`, a row a plane; return the largest bucket."""
    if grid.kind == FLOAT32:
        _split_float32(x, buckets, raws[0], raws[1], raws[2])
    else:
        _split_bfloat16(x, buckets, raws[0])
    return _wrap(buckets, grid)


@njit(cache=True, nogil=True)
def _split_float32(x: F32, exponents: U8, lowest: U8, low: U8, top: U8) -> None:
    halves = x.view(np.uint16)
    for i in range(x.size):
        lower, upper = halves[2 * i], halves[2 * i + 1]
        lowest[i], low[i] = np.uint8(lower & 255), np.uint8(lower >> 8)
        top[i] = np.uint8((upper & 127) | ((upper >> 8) & 128))
        exponents[i] = np.uint8((upper >> 7) & 255)


@njit(cache=True, nogil=True)
def _split_bfloat16(x: F32, exponents: U8, top: U8) -> None:
    bits = x.view(np.int32)
    for i in range(x.size):
        upper = _rounded(np.int32(bits[i] & MAGNITUDE_MASK))
        top[i] = np.uint8((upper & 127) | ((bits[i] >> 24) & 128))
        exponents[i] = np.uint8(upper >> 7)


@njit(cache=True, nogil=True, inline="always")
def _rounded(size: np.int32) -> np.int32:
    """The upper half of the bits of the bfloat16 nearest to a float32 >= 0, ties to even."""
    up = np.int32(np.int32(size + np.int32(0x7FFF)) + np.int32(np.int32(size >> 16) & 1))
    return min(np.int32(up >> 16), LARGEST)


@njit(cache=True, nogil=True)
def float_symbols(x: F32, grid: Grid, symbols: I32) -> None:
    """Fill `symbols` with the bits of the levels."""
    bits = x.view(np.int32)
    for i in range(x.size):
        symbols[i] = (
            bits[i] if grid.kind == FLOAT32 else np.int32(_rounded(bits[i] & MAGNITUDE_MASK) << 16) | (bits[i] & SIGN)
        )


@njit(cache=True, nogil=True)
def subtract_floats(x: F32, grid: Grid, out: F32) -> None:
    """Fill `out` with what rounding loses: nothing for float32."""
    if grid.kind == FLOAT32:
        for i in range(x.size):
            out[i] = np.float32(0)
        return
    bits = x.view(np.int32)
    for i in range(x.size):
        upper = _rounded(np.int32(bits[i] & MAGNITUDE_MASK))
        out[i] = x[i] - np.int32(np.int32(upper << 16) | np.int32(bits[i] & SIGN)).view(np.float32)


@njit(cache=True, nogil=True)
def _wrap(exponents: U8, grid: Grid) -> int:
    """Turn exponents into buckets, in place; return the largest. There are 255, one less than bytes.

    Bytes stay bytes, as in `minifloat.py`.
    """
    origin, border, largest = np.int64(grid.origin), np.uint8(grid.origin), np.uint8(0)
    for i in range(exponents.size):
        bucket = np.uint8((np.int64(exponents[i]) - origin - np.int64(exponents[i] < border)) & 255)
        largest = max(largest, bucket)
        exponents[i] = bucket
    return np.int64(largest)


@njit(cache=True, nogil=True)
def _unwrap(buckets: U8, grid: Grid) -> None:
    """Turn buckets into exponents, in place."""
    origin, border = np.int64(grid.origin), np.uint8(grid.modulus - grid.origin)
    for i in range(buckets.size):
        buckets[i] = np.uint8((np.int64(buckets[i]) + origin + np.int64(buckets[i] >= border)) & 255)


@njit(cache=True, nogil=True)
def place_floats(buckets: U8, planes: U8, grid: Grid, weight: np.float32, adding: bool, out: F32) -> None:
    """Store entries, or add `weight` times them; `planes` are one after the other. Leaves exponents in `buckets`."""
    _unwrap(buckets, grid)
    width = planes.size // 3
    if grid.kind == FLOAT32:
        lowest, low, top = planes[: buckets.size], planes[width : width + buckets.size], planes[2 * width :]
        if adding:
            _add_float32(buckets, lowest, low, top, weight, out)
        else:
            _store_float32(buckets, lowest, low, top, out)
    elif adding:
        for i in range(buckets.size):
            bits = np.int32(_upper(buckets[i], planes[i]) << 16)
            out[i] += weight * np.int32(bits).view(np.float32)
    else:
        bits_out = out.view(np.int32)
        for i in range(buckets.size):
            bits_out[i] = np.int32(_upper(buckets[i], planes[i]) << 16)


@njit(cache=True, nogil=True, inline="always")
def _upper(exponent: np.uint8, top: np.uint8) -> np.int32:
    """The upper half of an entry's bits."""
    return np.int32(
        np.int32(np.int32(exponent) << 7) | np.int32(np.int32(top & LOW) | np.int32(np.int32(top & HIGH) << 8))
    )


@njit(cache=True, nogil=True)
def _store_float32(exponents: U8, lowest: U8, low: U8, top: U8, out: F32) -> None:
    bytes_out = out.view(np.uint8)
    for i in range(exponents.size):
        bytes_out[4 * i], bytes_out[4 * i + 1] = lowest[i], low[i]
        bytes_out[4 * i + 2] = np.uint8((top[i] & LOW) | ((exponents[i] & 1) << 7))
        bytes_out[4 * i + 3] = np.uint8((top[i] & HIGH) | (exponents[i] >> 1))


@njit(cache=True, nogil=True)
def _add_float32(exponents: U8, lowest: U8, low: U8, top: U8, weight: np.float32, out: F32) -> None:
    for i in range(exponents.size):
        lower = np.int32(np.int32(lowest[i]) | np.int32(np.int32(low[i]) << 8))
        bits = np.int32(np.int32(_upper(exponents[i], top[i]) << 16) | lower)
        out[i] += weight * np.int32(bits).view(np.float32)
