"""What the entries of the first few buckets of a uniform quantiser are in the mean, and levels moved there.

No fastmath: float64 sums in this order, so that one machine gives the same bits again.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]


@njit(cache=True, nogil=True)
def add_to_means(entries: F32, levels: F32, step: float, sums: F64, counts: F64) -> int:
    """Add the magnitudes of entries to `sums`, by the bucket 1, 2, ... of their levels, and count them.

    Args:
        entries: (n,) what was quantised.
        levels: (n,) whole multiples of `step` that they became.
        step: above 0.
        sums: (buckets,); levels beyond them are left out.
        counts: likewise.

    Returns:
        How many levels are not zero.
    """
    n_used = 0
    for i in range(levels.size):
        if levels[i] != 0:
            n_used += 1
            bucket = np.int64(abs(levels[i]) / step + 0.5)
            if bucket <= sums.size:
                sums[bucket - 1] += abs(entries[i])
                counts[bucket - 1] += 1
    return n_used


@njit(cache=True, nogil=True)
def move_levels(levels: F32, step: float, means: F32) -> int:
    """Replace the magnitudes of levels in bucket 1, 2, ... by `means`, (buckets,), in place; return how many."""
    n_moved = 0
    for i in range(levels.size):
        if levels[i] != 0:
            bucket = np.int64(abs(levels[i]) / step + 0.5)
            if bucket <= means.size:
                levels[i] = means[bucket - 1] if levels[i] > 0 else -means[bucket - 1]
                n_moved += 1
    return n_moved
