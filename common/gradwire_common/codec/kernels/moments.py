"""Kernels of the fit: the moments of every entry in one pass, and a sample of the entries, one from each strip."""

import numpy as np
import numpy.typing as npt
from numba import njit

F32 = npt.NDArray[np.float32]

BLOCK = 8192  # entries; long enough for the memory's prefetch, short enough to be spread over a tensor
# Sums may be reordered into lanes, but NaN and infinity must come through: neither nnan nor ninf.
REORDER = {"reassoc", "contract", "arcp", "nsz"}


@njit(cache=True, nogil=True, fastmath=REORDER)
def _block_sums(x: F32) -> tuple[float, float, np.int64]:
    """Sum of magnitudes, sum of squares, number of zeros of one block.

    In float64 no square of a float32 overflows or vanishes, so the sums are finite exactly if every entry is; and the
    wider lanes cost little, since memory sets the pace.
    """
    total, squares, zeros = 0.0, 0.0, np.int64(0)
    for i in range(x.size):
        magnitude = abs(np.float64(x[i]))
        total += magnitude
        squares += magnitude * magnitude
        zeros += np.int64(magnitude == 0.0)
    return total, squares, zeros


@njit(cache=True, nogil=True)
def moment_sums(x: F32, every: int) -> tuple[float, float, np.int64, np.int64]:
    """Sum of magnitudes, sum of squares, number of zeros, number of entries of every `every`-th block of `x`."""
    total, squares, zeros, read = 0.0, 0.0, np.int64(0), np.int64(0)
    for start in range(0, x.size, BLOCK * every):
        block = x[start : start + BLOCK]
        block_total, block_squares, block_zeros = _block_sums(block)
        total += block_total
        squares += block_squares
        zeros += np.int64(block_zeros)
        read += np.int64(block.size)
    return total, squares, zeros, read


@njit(cache=True, nogil=True)
def strip_sample(x: F32, out: F32) -> int:
    """Fill `out` with one entry from each of out.size equal strips of `x`, at a low-discrepancy place; return its size.

    A plain stride would see only some positions of a tensor whose dimensions share a factor with it. Strips have at
    least one entry: out.size <= x.size, and x.size < 2**40 keeps the products below 2**63.
    """
    width = (np.int64(x.size) << 20) // np.int64(out.size)  # entries, in fixed point of 2**-20
    for i in range(out.size):
        place = (np.int64(i) * 2654435769 & 0xFFFFFFFF) >> 12  # i times the golden ratio, modulo 1, in 2**-20
        out[i] = x[(np.int64(i) * width + (width * place >> 20)) >> 20]
    return out.size
