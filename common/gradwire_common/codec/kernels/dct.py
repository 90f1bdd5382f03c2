"""Kernels of the 3x3 DCT. No fastmath: float32 operations in this order give the same bits on every machine."""

import numpy as np
import numpy.typing as npt
from numba import njit

F32 = npt.NDArray[np.float32]
Triple = tuple[np.float32, np.float32, np.float32]

ROOT_THIRD = np.float32(3**-0.5)
ROOT_HALF = np.float32(2**-0.5)
ROOT_SIXTH = np.float32(6**-0.5)


@njit(cache=True, nogil=True, inline="always")
def _forward(x0: np.float32, x1: np.float32, x2: np.float32) -> Triple:
    outer = x0 + x2
    return (outer + x1) * ROOT_THIRD, (x0 - x2) * ROOT_HALF, (outer - (x1 + x1)) * ROOT_SIXTH


@njit(cache=True, nogil=True, inline="always")
def _inverse(y0: np.float32, y1: np.float32, y2: np.float32) -> Triple:
    mean, slope, bend = y0 * ROOT_THIRD, y1 * ROOT_HALF, y2 * ROOT_SIXTH
    outer = mean + bend
    return outer + slope, mean - (bend + bend), outer - slope


@njit(cache=True, nogil=True)
def dct3x3(x: F32, out: F32) -> int:
    """Transform each 3x3 kernel of `x`, shape (n, 9), rows then columns, into `out` (may be `x`); return n."""
    for i in range(x.shape[0]):
        a0, a1, a2 = _forward(x[i, 0], x[i, 1], x[i, 2])
        b0, b1, b2 = _forward(x[i, 3], x[i, 4], x[i, 5])
        c0, c1, c2 = _forward(x[i, 6], x[i, 7], x[i, 8])
        out[i, 0], out[i, 3], out[i, 6] = _forward(a0, b0, c0)
        out[i, 1], out[i, 4], out[i, 7] = _forward(a1, b1, c1)
        out[i, 2], out[i, 5], out[i, 8] = _forward(a2, b2, c2)
    return int(x.shape[0])


@njit(cache=True, nogil=True)
def inverse_dct3x3(y: F32, out: F32) -> int:
    """Undo `dct3x3`, columns then rows, into `out` (may be `y`); return n."""
    for i in range(y.shape[0]):
        a0, b0, c0 = _inverse(y[i, 0], y[i, 3], y[i, 6])
        a1, b1, c1 = _inverse(y[i, 1], y[i, 4], y[i, 7])
        a2, b2, c2 = _inverse(y[i, 2], y[i, 5], y[i, 8])
        out[i, 0], out[i, 1], out[i, 2] = _inverse(a0, a1, a2)
        out[i, 3], out[i, 4], out[i, 5] = _inverse(b0, b1, b2)
        out[i, 6], out[i, 7], out[i, 8] = _inverse(c0, c1, c2)
    return int(y.shape[0])
