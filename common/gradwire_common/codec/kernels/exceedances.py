"""Kernel of the measured rate: how many magnitudes exceed each of a few borders."""

import numpy as np
import numpy.typing as npt
from numba import njit

F32 = npt.NDArray[np.float32]

BLOCK = 512  # entries; stays in the first-level cache for all borders, and is short enough to be spread over a tensor


@njit(cache=True, nogil=True)
def _count(x: F32, border: np.float32) -> np.int32:
    count = np.int32(0)
    for i in range(x.size):
        count += np.int32(abs(x[i]) > border)
    return count


@njit(cache=True, nogil=True)
def exceedances(x: F32, borders: F32, every: int, counts: npt.NDArray[np.int64]) -> int:
    """Count the magnitudes above each of ascending `borders` in every `every`-th block; return how many were read."""
    counts[:] = 0
    n_read = 0
    for start in range(0, x.size, BLOCK * every):
        block = x[start : start + BLOCK]
        for j in range(borders.size):
            count = _count(block, borders[j])
            if count == 0:
                break
            counts[j] += np.int64(count)
        n_read += block.size
    return n_read
