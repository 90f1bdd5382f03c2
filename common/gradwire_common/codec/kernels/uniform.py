# mypy: disable-error-code="arg-type, assignment, return-value"
# numba's integers are NumPy's: np.int64 stands where Python has int.
"""Uniform without raw bits: entries to buckets, and to residuals, each in one pass."""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.grids import Grid
from gradwire_common.codec.kernels.scanning import next_place

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]


@njit(cache=True, nogil=True)
def quick_uniform_buckets(x: F32, grid: Grid, buckets: U8) -> int:
    """Fill `buckets` for UNIFORM without raw bits, in one pass; return the largest, n_coded for all from there on."""
    factor, last = grid.factor, np.int32(grid.n_coded)
    limit = np.float32(min(grid.n_coded // 2 + 1, grid.largest))
    largest = np.int32(0)
    for i in range(x.size):
        symbol = np.int32(np.rint(min(max(x[i] * factor, -limit), limit)))
        bucket = min((abs(symbol) << np.int32(1)) - np.int32(symbol > np.int32(0)), last)
        largest = max(largest, bucket)
        buckets[i] = np.uint8(bucket)
    return np.int64(largest)


@njit(cache=True, nogil=True)
def quick_beyond(x: F32, grid: Grid, buckets: U8, beyond: I32, n: int) -> int:
    """Append to `beyond`, of which `n` are in use, what UNIFORM entries are in that `buckets` hold as n_coded."""
    factor, limit, last = grid.factor, np.float32(grid.largest), np.uint8(grid.n_coded)
    i = next_place(buckets, last, 0)
    while i < buckets.size:
        symbol = np.int64(np.rint(min(max(x[i] * factor, -limit), limit)))
        beyond[n] = 2 * abs(symbol) - np.int64(symbol > 0)
        n += 1
        i = next_place(buckets, last, i + 1)
    return n


@njit(cache=True, nogil=True)
def subtract_uniform(x: F32, grid: Grid, out: F32) -> None:
    """Fill `out` with `x` minus its own UNIFORM levels."""
    factor, step, limit = grid.factor, grid.unit, np.float32(grid.largest)
    for i in range(x.size):
        out[i] = x[i] - np.rint(min(max(x[i] * factor, -limit), limit)) * step
