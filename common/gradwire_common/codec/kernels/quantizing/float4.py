"""float4 1-2-1 without raw bits: entries to buckets and residuals in one pass.

In units of the least level its magnitudes are 0, 1, 2, 3, 4, 6; a tie between the last two goes to 4.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.grids import INFINITY_BITS, MAGNITUDE_MASK, Grid
from gradwire_common.codec.kernels.native.processor import HAS_AVX512
from gradwire_common.codec.kernels.native.vector_quantize import (
    N_LEVELS,
    NOT_FINITE,
    OUTER_INDEX,
    STEP,
    float4_residual_vectors,
    float4_vectors,
)

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]

_NOT_FINITE = np.uint64(NOT_FINITE)


@njit(cache=True, nogil=True)
def quantize_float4(x: F32, grid: Grid, residual: F32, fast: bool, buckets: U8) -> bool:
    """Fill `buckets` for float4 1-2-1 without raw bits, all coded, and `residual` unless it is empty.

    Level m has bucket 2 m - 1 or, where the sign bit is set, 2 m, and zero 0. Returns whether all of `x` are finite.
    The fast path leaves what is no whole STEP to the loop.
    """
    done, found = 0, np.uint64(0)
    if HAS_AVX512 and fast and x.size >= STEP:
        n, done = np.uint64(x.size // STEP), x.size // STEP * STEP
        where = np.uint64(x.ctypes.data), n, np.uint64(buckets.ctypes.data), np.uint64(residual.ctypes.data)
        levels = np.zeros(N_LEVELS if residual.size > 0 else 0, np.float32)
        numbers = np.uint64(levels.ctypes.data), _factor(grid), np.float32(4), np.float32(0)
        if residual.size > 0:
            _fill_levels(grid, levels)
            found = float4_residual_vectors(*where, *numbers)
        else:
            found = float4_vectors(*where, *numbers)
    largest = _quantize_float4(x[done:], grid, residual[done:], buckets[done:])
    return bool(largest < INFINITY_BITS and not found & _NOT_FINITE)


@njit(cache=True, nogil=True, inline="always")
def _factor(grid: Grid) -> np.float32:
    """What makes entries multiples of the least level: the scale by a power of two, as exact as one after the other."""
    return np.float32(grid.factor * (np.float32(1 << (23 - grid.shift)) / grid.subnormal))


@njit(cache=True, nogil=True, inline="always")
def _levels(grid: Grid) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """The levels of one, two, three and six."""
    least = np.float32(1) / (np.float32(1 << (23 - grid.shift)) / grid.subnormal)
    one, two = least / grid.unit, np.float32(2) * least / grid.unit
    return one, two, np.float32(3) * least / grid.unit, np.float32(6) * least / grid.unit


@njit(cache=True, nogil=True)
def _fill_levels(grid: Grid, levels: F32) -> None:
    """Fill the table of the residual vectors: symbol s at s modulo N_LEVELS, the outermost beside."""
    one, two, three, six = _levels(grid)
    levels[1], levels[2], levels[3], levels[4] = one, two, three, np.float32(2) * two
    for i in range(1, 5):
        levels[N_LEVELS - i] = -levels[i]
    levels[4 ^ OUTER_INDEX], levels[(N_LEVELS - 4) ^ OUTER_INDEX] = six, -six


@njit(cache=True, nogil=True)
def _quantize_float4(x: F32, grid: Grid, residual: F32, buckets: U8) -> np.int32:
    """Do it on every processor; return the bits of the largest magnitude in `x`.

    Every result is cast to 32 bits, for numba would widen it and halve the vectors.
    """
    factor = _factor(grid)
    one, two, three, six = _levels(grid)
    bits, largest, subtracting = x.view(np.int32), np.int32(0), residual.size > 0
    for i in range(x.size):
        largest = max(largest, np.int32(bits[i] & MAGNITUDE_MASK))
        y = x[i] * factor
        size = abs(y)
        count, top = np.rint(min(size, np.float32(4))), size > np.float32(5)
        number = np.int32(np.int32(count) + np.int32(top))
        signed = np.int32(np.int32(number + number) + np.int32(~np.int32(bits[i] >> np.int32(31))))
        buckets[i] = np.uint8(max(signed, np.int32(0)))
        if subtracting:
            level = one if count == np.float32(1) else count * np.float32(0.5) * two
            level = three if count == np.float32(3) else level
            level = six if top else level
            residual[i] = x[i] - (-level if y < np.float32(0) else level)
    return largest
