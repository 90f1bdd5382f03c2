"""Uniform without raw bits: entries to buckets and residuals in one pass."""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.grids import INFINITY_BITS, MAGNITUDE_MASK, Grid
from gradwire_common.codec.kernels.native.processor import HAS_AVX512
from gradwire_common.codec.kernels.native.vector_quantize import (
    LAST_FOUND,
    MOST_LAST,
    NOT_FINITE,
    STEP,
    uniform_residual_vectors,
    uniform_vectors,
)
from gradwire_common.codec.kernels.scanning import next_place

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]

_NOT_FINITE, _LAST_FOUND = np.uint64(NOT_FINITE), np.uint64(LAST_FOUND)


@njit(cache=True, nogil=True)
def quantize_uniform(x: F32, grid: Grid, residual: F32, fast: bool, buckets: U8) -> int:
    """Fill `buckets` for UNIFORM without raw bits, n_coded for all from there on, and `residual` unless it is empty.

    Symbol s has bucket 2 s - 1 or, from zero down, -2 s. Returns 0 if all buckets are coded, 1 where one may not be, -1
    where an entry is not finite. The fast path leaves what is no whole STEP to the loop.
    """
    done, found = 0, np.uint64(0)
    if HAS_AVX512 and fast and x.size >= STEP and grid.n_coded <= MOST_LAST:
        n, done = np.uint64(x.size // STEP), x.size // STEP * STEP
        where = np.uint64(x.ctypes.data), n, np.uint64(buckets.ctypes.data), np.uint64(residual.ctypes.data)
        numbers = grid.factor, np.float32(grid.largest), grid.unit
        if residual.size > 0:
            found = uniform_residual_vectors(*where, np.uint64(grid.n_coded), *numbers)
        else:
            found = uniform_vectors(*where, np.uint64(grid.n_coded), *numbers)
    largest = _quantize_uniform(x[done:], grid, residual[done:], buckets[done:])
    if largest >= INFINITY_BITS or found & _NOT_FINITE:
        return -1
    return int(not _all_coded(largest, grid) or found >= _LAST_FOUND)


@njit(cache=True, nogil=True)
def _quantize_uniform(x: F32, grid: Grid, residual: F32, buckets: U8) -> np.int32:
    """Do it on every processor; return the bits of the largest magnitude in `x`.

    Every result is cast to 32 bits, for numba would widen it and halve the vectors.
    """
    factor, step, limit, last = grid.factor, grid.unit, np.float32(grid.largest), np.int32(grid.n_coded)
    bits, largest, subtracting = x.view(np.int32), np.int32(0), residual.size > 0
    for i in range(x.size):
        largest = max(largest, np.int32(bits[i] & MAGNITUDE_MASK))
        symbol = np.rint(min(max(x[i] * factor, -limit), limit))
        odd = np.int32(np.int32(np.int32(symbol) + np.int32(symbol)) - np.int32(1))
        buckets[i] = np.uint8(min(np.int32(odd ^ np.int32(odd >> np.int32(31))), last))
        if subtracting:
            residual[i] = x[i] - symbol * step
    return largest


@njit(cache=True, nogil=True)
def _all_coded(largest: np.int32, grid: Grid) -> bool:
    """Return whether entries with magnitudes of at most the bits `largest` have coded buckets for certain."""
    most = min(np.int32(largest).view(np.float32) * grid.factor, np.float32(grid.largest))
    return bool(np.float32(2) * np.rint(most) < np.float32(grid.n_coded))


@njit(cache=True, nogil=True)
def uniform_beyond(x: F32, grid: Grid, buckets: U8, beyond: I32, n: int) -> int:
    """Append to `beyond`, of which `n` are in use, what UNIFORM entries are in that `buckets` hold as n_coded."""
    factor, limit, last = grid.factor, np.float32(grid.largest), np.uint8(grid.n_coded)
    i = next_place(buckets, last, 0)
    while i < buckets.size:
        symbol = np.int64(np.rint(min(max(x[i] * factor, -limit), limit)))
        beyond[n] = 2 * abs(symbol) - np.int64(symbol > 0)
        n += 1
        i = next_place(buckets, last, i + 1)
    return n
