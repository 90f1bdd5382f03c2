"""Kernels of the fit: statistics of all entries at the speed of memory, and a sample, one entry from each strip."""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.grids import MAGNITUDE_MASK

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

BLOCK = 4096  # entries; float32 sums stay exact to 1e-6 over it, and it is long enough for the memory's prefetch
ROWS = 512  # entries whose eight numbers the first-level cache holds
ONE_BITS = np.int32(0x3F800000)  # the bits of 1.0, whose log2 is 0
LOG2_UNIT = 2.0**-23  # the bits of a float32, less those of 1.0, are 2**23 times its log2, straight between powers of 2
REORDER = {"reassoc", "contract", "arcp", "nsz"}  # lets sums run in lanes


@njit(cache=True, nogil=True)
def largest_bits(x: F32) -> np.int32:
    """Return the bits of the largest magnitude; INFINITY_BITS or more where an entry is not finite."""
    bits, largest = x.view(np.int32), np.int32(0)
    for i in range(bits.size):
        largest = max(largest, np.int32(bits[i] & MAGNITUDE_MASK))
    return largest


@njit(cache=True, nogil=True, fastmath=REORDER)
def _block_sums(x: F32) -> tuple[np.int32, np.float32, np.float32, float, float]:
    bits = x.view(np.int32)
    zeros, logs, roots, total, squares = np.int32(0), np.float32(0), np.float32(0), 0.0, 0.0
    for i in range(x.size):
        magnitude = abs(x[i])
        wide = np.float64(magnitude)  # where no square of a float32 overflows or vanishes
        zeros += np.int32(magnitude == np.float32(0))
        logs += np.float32((bits[i] & MAGNITUDE_MASK) - ONE_BITS)
        roots += np.sqrt(magnitude)
        total += wide
        squares += wide * wide
    return zeros, logs, roots, total, squares


@njit(cache=True, nogil=True)
def moment_sums(x: F32, every: int, out: F64) -> int:
    """Sum statistics over every `every`-th block of `x` into `out`, shape (5,); return the number of entries read.

    The statistics: zeros, log2 of the magnitude (straight between powers of two; -127 for zeros), its root, itself, its
    square.
    """
    out[:] = 0.0
    n_read = 0
    for start in range(0, x.size, BLOCK * every):
        block = x[start : start + BLOCK]
        zeros, logs, roots, total, squares = _block_sums(block)
        out[0] += np.float64(zeros)
        out[1] += np.float64(logs) * LOG2_UNIT
        out[2] += np.float64(roots)
        out[3] += total
        out[4] += squares
        n_read += block.size
    return n_read


@njit(cache=True, nogil=True)
def strip_sample(x: F32, out: F32) -> int:
    """Fill `out` with one entry from each of out.size equal strips of `x`, at a low-discrepancy place; return its size.

    A plain stride would see only some positions of a tensor whose dimensions share a factor with it. Needs
    out.size <= x.size < 2**23 * out.size, so that strips have an entry and the products stay below 2**63.
    """
    width = (np.int64(x.size) << 20) // np.int64(out.size)  # entries, in fixed point of 2**-20
    for i in range(out.size):
        place = (np.int64(i) * 2654435769 & 0xFFFFFFFF) >> 12  # i times the golden ratio, modulo 1, in 2**-20
        out[i] = x[(np.int64(i) * width + (width * place >> 20)) >> 20]
    return int(out.size)


@njit(cache=True, nogil=True)
def regression_products(magnitudes: F32, logs: F32, powers: F32, beta: float, means: F64, out: F64) -> int:
    """Write the mean products of all pairs of eight numbers an entry of a sample into `out`, shape (8, 8); return n.

    The numbers: the four statistics as `moment_sums` has them, relative to their `means`; the parts that vary from
    entry to entry of the log-likelihood's derivatives by log(beta) and by log(alpha); 1; `logs`. These are of
    magnitude / alpha, `powers` are (magnitude / alpha)**beta. Unlike in a library's matrix product, the order of the
    sums depends on nothing but the shape.
    """
    rows = np.empty((8, ROWS))
    out[:] = 0.0
    for start in range(0, magnitudes.size, ROWS):
        some = slice(start, min(start + ROWS, magnitudes.size))
        n = _regression_rows(magnitudes[some], logs[some], powers[some], beta, means, rows)
        for i in range(rows.shape[0]):
            for j in range(i + 1):
                out[i, j] += _product(rows[i, :n], rows[j, :n]) / magnitudes.size
    for i in range(rows.shape[0]):
        for j in range(i):
            out[j, i] = out[i, j]
    return int(magnitudes.size)


@njit(cache=True, nogil=True)
def _regression_rows(magnitudes: F32, logs: F32, powers: F32, beta: float, means: F64, rows: F64) -> int:
    bits = magnitudes.view(np.int32)
    mean_log, per_root, per_mean, per_square = means[0], 1.0 / means[1], 1.0 / means[2], 1.0 / means[3]
    for i in range(magnitudes.size):
        magnitude = np.float64(magnitudes[i])
        rows[0, i] = np.float64(bits[i] - ONE_BITS) * LOG2_UNIT - mean_log
        rows[1, i] = np.sqrt(magnitude) * per_root - 1.0
        rows[2, i] = magnitude * per_mean - 1.0
        rows[3, i] = magnitude * magnitude * per_square - 1.0
        pull = np.float64(powers[i]) * beta
        rows[4, i] = -pull * np.float64(logs[i])
        rows[5, i] = pull
        rows[6, i] = 1.0
        rows[7, i] = np.float64(logs[i])
    return int(magnitudes.size)


@njit(cache=True, nogil=True, fastmath=REORDER)
def _product(x: F64, y: F64) -> float:
    total = 0.0
    for i in range(x.size):
        total += x[i] * y[i]
    return total
