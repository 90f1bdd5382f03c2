"""Uniform with raw bits: entries to symbols, and symbols to buckets, raw bits and residuals."""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.grids import Grid
from gradwire_common.codec.kernels.scanning import next_place

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]


@njit(cache=True, nogil=True)
def uniform_symbols(x: F32, grid: Grid, symbols: I32) -> None:
    """Fill `symbols` for finite `x`."""
    limit, factor = np.float32(grid.largest), grid.factor
    for i in range(x.size):
        symbols[i] = np.int32(np.rint(min(max(x[i] * factor, -limit), limit)))


@njit(cache=True, nogil=True)
def subtract_symbols(x: F32, symbols: I32, grid: Grid, out: F32) -> None:
    """Fill `out` with `x` minus the levels of `symbols`."""
    step = grid.unit
    for i in range(x.size):
        out[i] = x[i] - np.float32(symbols[i]) * step


@njit(cache=True, nogil=True)
def split_uniform(symbols: I32, grid: Grid, buckets: U8, raws: U8) -> int:
    """Split symbols in buckets, n_coded for all from there on, and raw bits; return the largest bucket."""
    if grid.raw_bits == 2:  # a constant shift stays within 32 bits, which makes the vectors twice as wide
        return _split_magnitudes(symbols, 2, grid.n_coded, buckets, raws)
    return _split_magnitudes(symbols, grid.raw_bits, grid.n_coded, buckets, raws)


@njit(cache=True, nogil=True, inline="always")
def _split_magnitudes(symbols: I32, raw_bits: int, n_coded: int, buckets: U8, raws: U8) -> int:
    """Split in the upper bits of the magnitude, and the lower ones with the sign; return the largest bucket."""
    largest, last, mask = np.int32(0), np.int32(n_coded), np.int32((1 << raw_bits) - 1)
    for i in range(symbols.size):
        magnitude = abs(symbols[i])
        bucket = np.int32(magnitude >> (raw_bits - 1))
        largest = max(largest, bucket)
        buckets[i] = np.uint8(min(bucket, last))
        raws[i] = np.uint8(((magnitude << np.int32(1)) & mask) | np.int32(symbols[i] < np.int32(0)))
    return np.int64(largest)


@njit(cache=True, nogil=True)
def split_beyond(symbols: I32, grid: Grid, buckets: U8, beyond: I32, n: int) -> int:
    """Append to `beyond`, of which `n` are in use, what the symbols are in whose `buckets` are n_coded."""
    last = np.uint8(grid.n_coded)
    i = next_place(buckets, last, 0)
    while i < buckets.size:
        beyond[n] = abs(np.int64(symbols[i])) >> (grid.raw_bits - 1)
        n += 1
        i = next_place(buckets, last, i + 1)
    return n
