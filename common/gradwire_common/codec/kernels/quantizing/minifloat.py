"""Small floating-point grids: entries to codes, and back to levels; codes.py has what is between.

A code is a byte: twice the magnitude, plus 1 where the entry is negative. Magnitude 0 may have the sign set.

Every loop has lanes of one width, of which compilers make full vectors: numba widens integers to 64 bits, so each
operation is narrowed again, and shifts are by constants, which nothing widens.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.grids import INFINITY_BITS, MAGNITUDE_MASK, Grid
from gradwire_common.codec.kernels.moments import largest_bits
from gradwire_common.codec.kernels.native.processor import HAS_AVX512_VBMI2
from gradwire_common.codec.kernels.native.vector_minifloat import (
    CONSTANTS_SIZE,
    INDEX,
    minifloat_residual_vectors,
    minifloat_vectors,
)
from gradwire_common.codec.kernels.native.vector_quantize import LAST_FOUND, NOT_FINITE, STEP
from gradwire_common.codec.kernels.quantizing.codes import split_codes

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
U32 = npt.NDArray[np.uint32]

_NOT_FINITE, _LAST_FOUND = np.uint64(NOT_FINITE), np.uint64(LAST_FOUND)
BINADE = np.int32(0x7F800000)  # the exponent of a float32


@njit(cache=True, nogil=True)
def quantize_minifloat(x: F32, grid: Grid, residual: F32, fast: bool, buckets: U8, raws: U8) -> int:
    """Fill `buckets`, `raws` and, unless it is empty, `residual`.

    Returns 0 if all buckets are coded, 1 where one is not, -1 where an entry is not finite. The fast path leaves what
    is no whole STEP to the loops.
    """
    done, found = 0, np.uint64(0)
    if HAS_AVX512_VBMI2 and fast and x.size >= STEP and 1 <= grid.raw_bits <= 7:
        n, done, constants = np.uint64(x.size // STEP), x.size // STEP * STEP, np.zeros(CONSTANTS_SIZE, np.uint32)
        _fill_constants(grid, constants)
        where = np.uint64(x.ctypes.data), n, np.uint64(buckets.ctypes.data), np.uint64(raws.ctypes.data)
        if residual.size > 0:
            ends = np.uint64(residual.ctypes.data), np.uint64(constants.ctypes.data)
            found = minifloat_residual_vectors(*where, *ends)
        else:
            found = minifloat_vectors(*where, np.uint64(0), np.uint64(constants.ctypes.data))
    rest, codes = x[done:], raws[done:]
    if largest_bits(rest) >= INFINITY_BITS or found & _NOT_FINITE:
        return -1
    minifloat_codes(rest, grid, codes)
    last_bucket = split_codes(codes, grid, buckets[done:])
    if residual.size > 0:
        subtract_minifloat(rest, grid, residual[done:])
    return int(last_bucket >= grid.n_coded or found >= _LAST_FOUND)


@njit(cache=True, nogil=True)
def _fill_constants(grid: Grid, out: U32) -> None:
    """Fill `out` with the fields of vector_minifloat.FIELDS, in their order, and every fourth of 256 bytes."""
    numbers = out.view(np.float32)
    numbers[0], numbers[1], numbers[2], numbers[3] = grid.factor, grid.unit, _outermost(grid), grid.subnormal
    mask = (1 << grid.raw_bits) - 1
    out[4], out[5], out[6], out[7] = grid.shift << 23, grid.shift - 1, grid.raw_bits, (out[3] >> (grid.shift - 1)) & 255
    out[8], out[9], out[10], out[11], out[12] = grid.origin, grid.modulus, mask, 255 >> grid.raw_bits, grid.n_coded
    bytes_out = out[INDEX:].view(np.uint8)
    for i in range(bytes_out.size):
        bytes_out[i] = np.uint8(4 * i & 255)


@njit(cache=True, nogil=True)
def minifloat_codes(x: F32, grid: Grid, codes: U8) -> None:
    """Fill `codes` for finite `x`."""
    if grid.shift == 21:
        _codes(x, 21, grid, codes)
    elif grid.shift == 20:
        _codes(x, 20, grid, codes)
    else:
        _codes(x, 22, grid, codes)


@njit(cache=True, nogil=True, inline="always")
def _codes(x: F32, shift: int, grid: Grid, codes: U8) -> None:
    """Round by adding the power of two whose last bit is the grid's spacing there: its mantissa counts the steps."""
    bits, factor, least, top = x.view(np.int32), grid.factor, _least_normal(grid), _outermost(grid)
    coarser, origin = np.int32(shift << 23), np.int32(least >> np.int32(shift - 1))
    for i in range(x.size):
        y = min(np.int32(bits[i] & MAGNITUDE_MASK).view(np.float32) * factor, top)
        binade = max(np.int32(np.float32(y).view(np.int32) & BINADE), least)
        coarse = np.int32(binade + coarser)
        steps = np.int32(np.float32(y + np.int32(coarse).view(np.float32)).view(np.int32) - coarse)
        code = np.int32(np.int32(binade >> (shift - 1)) - origin) + np.int32(steps << 1)
        codes[i] = np.uint8(np.int32(code) + np.int32(bits[i] < np.int32(0)))


@njit(cache=True, nogil=True)
def subtract_minifloat(x: F32, grid: Grid, out: F32) -> None:
    """Fill `out` with `x` minus its own levels, as `minifloat_codes` chooses them."""
    bits, factor, unit, least, top = x.view(np.int32), grid.factor, grid.unit, _least_normal(grid), _outermost(grid)
    coarser = np.int32(grid.shift << 23)
    for i in range(x.size):
        y = min(np.int32(bits[i] & MAGNITUDE_MASK).view(np.float32) * factor, top)
        binade = max(np.int32(np.float32(y).view(np.int32) & BINADE), least)
        coarse = np.int32(binade + coarser).view(np.float32)
        level = (y + coarse - coarse) / unit
        out[i] = x[i] - (-level if x[i] < np.float32(0) else level)


@njit(cache=True, nogil=True, inline="always")
def _least_normal(grid: Grid) -> np.int32:
    """The bits of the least normal level at scale 1."""
    return np.float32(grid.subnormal).view(np.int32)


@njit(cache=True, nogil=True, inline="always")
def _outermost(grid: Grid) -> np.float32:
    """The outermost level at scale 1."""
    return np.int32((grid.largest + grid.rebias) << grid.shift).view(np.float32)


@njit(cache=True, nogil=True)
def code_symbols(codes: U8, symbols: I32) -> None:
    """Fill `symbols` with the magnitudes of `codes`, signed."""
    for i in range(codes.size):
        magnitude = np.int32(codes[i] >> np.uint8(1))
        symbols[i] = -magnitude if codes[i] & np.uint8(1) else magnitude


@njit(cache=True, nogil=True)
def place_codes(codes: U8, grid: Grid, weight: np.float32, adding: bool, out: F32) -> None:
    """Store the levels of `codes`, or add `weight` times those that are not zero."""
    if grid.shift == 21:
        _place(codes, 21, grid, weight, adding, out)
    elif grid.shift == 20:
        _place(codes, 20, grid, weight, adding, out)
    else:
        _place(codes, 22, grid, weight, adding, out)


@njit(cache=True, nogil=True, inline="always")
def _place(codes: U8, shift: int, grid: Grid, weight: np.float32, adding: bool, out: F32) -> None:
    """A subnormal is what the least normal level grows by with the same fraction."""
    border, unit, rebias = np.uint8(2 << (23 - shift)), grid.unit, np.int32(grid.rebias << shift)
    least, none = _least_normal(grid), np.float32(0)
    extra = np.int32(least).view(np.float32)
    if adding:
        for i in range(codes.size):
            code = codes[i]
            bits = np.int32(np.int32(np.int32(code) >> 1) << shift) + (least if code < border else rebias)
            level = (np.int32(bits).view(np.float32) - (extra if code < border else none)) / unit
            total = out[i] + weight * (-level if code & np.uint8(1) else level)
            out[i] = total if code > np.uint8(1) else out[i]
    else:
        for i in range(codes.size):
            code = codes[i]
            bits = np.int32(np.int32(np.int32(code) >> 1) << shift) + (least if code < border else rebias)
            level = (np.int32(bits).view(np.float32) - (extra if code < border else none)) / unit
            out[i] = -level if (code & np.uint8(1)) & (code > np.uint8(1)) else level
