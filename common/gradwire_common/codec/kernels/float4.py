# mypy: disable-error-code="arg-type, assignment, return-value"
# numba's integers are NumPy's: np.int64 stands where Python has int.
"""float4 1-2-1 without raw bits: entries to buckets, and to residuals, each in one pass.

In units of the least level its magnitudes are 0, 1, 2, 3, 4, 6; a tie between the last two goes to 4.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.grids import Grid

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]


@njit(cache=True, nogil=True)
def quick_float4_buckets(x: F32, grid: Grid, buckets: U8) -> None:
    """Fill `buckets` for float4 1-2-1 without raw bits, all coded, in one pass."""
    factor, finer = grid.factor, np.float32(1 << (23 - grid.shift)) / grid.subnormal
    largest, last_tie = np.float32(4), np.float32(5)
    for i in range(x.size):
        y = x[i] * factor * finer
        size = abs(y)
        magnitude = np.int32(np.rint(min(size, largest))) + np.int32(size > last_tie)
        buckets[i] = np.uint8((magnitude << np.int32(1)) - np.int32((y > np.float32(0)) & (magnitude > np.int32(0))))


@njit(cache=True, nogil=True)
def subtract_float4(x: F32, grid: Grid, out: F32) -> None:
    """Fill `out` with `x` minus its own float4 1-2-1 levels, as `quick_float4_buckets` chooses them."""
    factor, unit, finer = grid.factor, grid.unit, np.float32(1 << (23 - grid.shift)) / grid.subnormal
    least, largest, last_tie = np.float32(1) / finer, np.float32(4), np.float32(5)
    for i in range(x.size):
        y = x[i] * factor * finer
        size = abs(y)
        count = np.rint(min(size, largest)) + (np.float32(2) if size > last_tie else np.float32(0))
        level = count * least / unit
        out[i] = x[i] - (-level if y < np.float32(0) else level)
