# mypy: disable-error-code="arg-type, assignment, return-value"
# numba's integers are NumPy's: np.int64 stands where Python has int.
"""float4 1-2-1 without raw bits: entries to buckets and residuals in one pass.

In units of the least level its magnitudes are 0, 1, 2, 3, 4, 6; a tie between the last two goes to 4.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.grids import MAGNITUDE_MASK, Grid

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]


@njit(cache=True, nogil=True)
def quantize_float4(x: F32, grid: Grid, residual: F32, buckets: U8) -> np.int32:
    """Fill `buckets` for float4 1-2-1 without raw bits, all coded, and `residual` unless it is empty.

    Level m has bucket 2 m - 1 or, where the sign bit is set, 2 m, and zero 0. Every result is cast to 32 bits, for
    numba would widen it and halve the vectors. Returns the bits of the largest magnitude in `x`.
    """
    finer = np.float32(1 << (23 - grid.shift)) / grid.subnormal
    factor, least = grid.factor * finer, np.float32(1) / finer  # a power of two: as exact as to multiply by it later
    one, two = least / grid.unit, np.float32(2) * least / grid.unit
    three, six = np.float32(3) * least / grid.unit, np.float32(6) * least / grid.unit
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
