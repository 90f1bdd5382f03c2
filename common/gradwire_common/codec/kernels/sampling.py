# mypy: disable-error-code="arg-type, assignment, call-overload, return-value"
# numba's integers are NumPy's: np.int64 stands where Python has int.
"""The symbols of a sample, counted."""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.grids import BFLOAT16, FLOAT32, INFINITY_BITS, Grid
from gradwire_common.codec.kernels.moments import largest_bits
from gradwire_common.codec.kernels.quantize import symbols_of

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]


@njit(cache=True, nogil=True)
def count_chunks(x: F32, starts: I64, chunk: int, grid: Grid, symbols: I32, counts: I64) -> bool:
    """Fill `symbols` with those of the chunks of `x` at `starts`, and add to counts[bucket], the last for any beyond.

    Buckets are those without raw bits: 0, +1, -1, +2, ...; of the floats the exponent field. Returns whether all
    entries are finite.
    """
    last = counts.size - 1
    for number in range(starts.size):
        some = x[starts[number] : starts[number] + chunk]
        if largest_bits(some) >= INFINITY_BITS:
            return False
        found = symbols[number * chunk : (number + 1) * chunk]
        symbols_of(some, grid, found)
        if grid.kind == FLOAT32 or grid.kind == BFLOAT16:
            for i in range(chunk):
                counts[np.int64(found[i]) >> 23 & 255] += 1
        else:
            for i in range(chunk):
                symbol = np.int64(found[i])
                counts[min(2 * abs(symbol) - np.int64(symbol > 0), last)] += 1
    return True
