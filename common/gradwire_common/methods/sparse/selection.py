"""The largest magnitudes of rows."""

import numpy as np
import numpy.typing as npt

from gradwire_common.methods.method import F32

I64 = npt.NDArray[np.int64]


def largest_of_rows(rows: F32, k: int) -> I64:
    """Return the places of the `k` largest magnitudes of every row, ascending in each.

    Args:
        rows: (m, n) float32.
        k: from 0 to n.

    Returns:
        (m, k) int64.
    """
    n = rows.shape[1]
    if k >= n:
        return np.broadcast_to(np.arange(n), rows.shape).copy()
    chosen = np.argpartition(np.abs(rows), n - k - 1, axis=1)[:, n - k :]
    return np.sort(chosen, axis=1).astype(np.int64)
