"""Entries to buckets and raw bits, a block at a time: arithmetic that vectorises, the same as the quantisers' own.

A symbol is a magnitude and a sign. Without raw bits bucket 0 is zero, 2 m - 1 is +m, 2 m is -m. With them, bucket and
raw bits are the upper and lower bits of the magnitude, and the sign is the lowest raw bit. Buckets from `n_coded` on
are stored as `n_coded`; `beyond` lists what they are.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.grids import INFINITY_BITS, MINIFLOAT, UNIFORM, Grid
from gradwire_common.codec.kernels.moments import largest_bits
from gradwire_common.codec.kernels.quantizing.float4 import quantize_float4
from gradwire_common.codec.kernels.quantizing.floats import float_symbols, split_floats, subtract_floats
from gradwire_common.codec.kernels.quantizing.minifloat import code_symbols, minifloat_codes, quantize_minifloat
from gradwire_common.codec.kernels.quantizing.uniform import quantize_uniform, uniform_beyond
from gradwire_common.codec.kernels.quantizing.uniform_raw import (
    split_beyond,
    split_uniform,
    subtract_symbols,
    uniform_symbols,
)
from gradwire_common.codec.kernels.scanning import next_place

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]

FLOAT4_LEVELS = 5  # above zero


@njit(cache=True, nogil=True)
def quantize_block(
    x: F32,
    grid: Grid,
    residual: F32,
    buckets: U8,
    raws: npt.NDArray[np.uint8],
    beyond: I32,
    n_beyond: int,
    symbols: I32,
    fast: bool,
) -> int:
    """Fill `buckets`, `raws` and, unless it is empty, `residual` for the entries of a block.

    Buckets that are not coded are appended to `beyond`, of which `n_beyond` are in use. `symbols` is scratch. Returns
    how much of `beyond` is in use then; -1 where an entry is not finite, whatever is filled by then.
    """
    if grid.kind == UNIFORM and grid.raw_bits == 0:
        found = quantize_uniform(x, grid, residual, fast, buckets)
        return uniform_beyond(x, grid, buckets, beyond, n_beyond) if found > 0 else n_beyond if found == 0 else -1
    is_float4 = grid.kind == MINIFLOAT and grid.raw_bits == 0 and grid.largest == FLOAT4_LEVELS
    if is_float4 and grid.n_coded > 2 * FLOAT4_LEVELS:
        return n_beyond if quantize_float4(x, grid, residual, fast, buckets) else -1
    if grid.kind == MINIFLOAT:
        found = quantize_minifloat(x, grid, residual, fast, buckets, raws[0])
        return list_beyond(buckets, grid.n_coded, beyond, n_beyond) if found > 0 else n_beyond if found == 0 else -1
    if largest_bits(x) >= INFINITY_BITS:
        return -1
    if grid.kind == UNIFORM:
        symbols = symbols[: x.size]
        uniform_symbols(x, grid, symbols)
        if residual.size > 0:
            subtract_symbols(x, symbols, grid, residual)
        is_coded = split_uniform(symbols, grid, buckets, raws[0]) < grid.n_coded
        return n_beyond if is_coded else split_beyond(symbols, grid, buckets, beyond, n_beyond)
    last_bucket = split_floats(x, grid, buckets, raws)
    if residual.size > 0:
        subtract_floats(x, grid, residual)
    return n_beyond if last_bucket < grid.n_coded else list_beyond(buckets, grid.n_coded, beyond, n_beyond)


@njit(cache=True, nogil=True)
def list_beyond(buckets: U8, n_coded: int, beyond: I32, n: int) -> int:
    """Append the buckets that are not coded to `beyond`, of which `n` are in use; make each of them `n_coded`."""
    last = np.uint8(n_coded)
    i = next_place(buckets, last, 0)
    while i < buckets.size:
        beyond[n] = np.int32(buckets[i])
        buckets[i] = last
        n += 1
        i = next_place(buckets, last, i + 1)
    return n


@njit(cache=True, nogil=True)
def symbols_of(x: F32, grid: Grid, symbols: I32) -> None:
    """Fill `symbols` with signed magnitudes; for the floats, with their bits."""
    if grid.kind == UNIFORM:
        uniform_symbols(x, grid, symbols)
    elif grid.kind == MINIFLOAT:
        codes = np.empty(x.size, np.uint8)
        minifloat_codes(x, grid, codes)
        code_symbols(codes, symbols)
    else:
        float_symbols(x, grid, symbols)
