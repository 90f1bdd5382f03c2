# mypy: disable-error-code="arg-type, assignment, return-value"
# numba's integers are NumPy's: np.int64 stands where Python has int.
"""Entries to buckets and raw bits, a block at a time: arithmetic that vectorises, the same as the quantisers' own.

A symbol is a magnitude and a sign. Without raw bits bucket 0 is zero, 2 m - 1 is +m, 2 m is -m. With them, bucket and
raw bits are the upper and lower bits of the magnitude, and the sign is the lowest raw bit. Buckets from `n_coded` on
are stored as `n_coded`; `buckets_beyond` lists what they are.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.float4 import quantize_float4
from gradwire_common.codec.kernels.grids import (
    BFLOAT16,
    FLOAT32,
    INFINITY_BITS,
    MINIFLOAT,
    UNIFORM,
    Grid,
)
from gradwire_common.codec.kernels.minifloat import minifloat_levels, minifloat_symbols
from gradwire_common.codec.kernels.moments import largest_bits
from gradwire_common.codec.kernels.scanning import next_place
from gradwire_common.codec.kernels.uniform import all_coded, quantize_uniform, uniform_beyond

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
    scaled: F32,
    symbols: I32,
) -> int:
    """Fill `buckets`, `raws` and, unless it is empty, `residual` for the entries of a block.

    Buckets that are not coded are appended to `beyond`, of which `n_beyond` are in use. `scaled` and `symbols` are
    scratch. Returns how much of `beyond` is in use then; -1 where an entry is not finite, whatever is filled by then.
    """
    if grid.kind == UNIFORM and grid.raw_bits == 0:
        largest = quantize_uniform(x, grid, residual, buckets)
        if largest >= INFINITY_BITS:
            return -1
        return n_beyond if all_coded(largest, grid) else uniform_beyond(x, grid, buckets, beyond, n_beyond)
    is_float4 = grid.kind == MINIFLOAT and grid.raw_bits == 0 and grid.largest == FLOAT4_LEVELS
    if is_float4 and grid.n_coded > 2 * FLOAT4_LEVELS:
        return n_beyond if quantize_float4(x, grid, residual, buckets) < INFINITY_BITS else -1
    if largest_bits(x) >= INFINITY_BITS:
        return -1
    scaled, symbols = scaled[: x.size], symbols[: x.size]
    symbols_of(x, grid, scaled, symbols)
    if split_symbols(symbols, grid, buckets, raws) >= grid.n_coded:
        n_beyond = buckets_beyond(symbols, grid, buckets, beyond, n_beyond)
    if residual.size > 0:
        subtract_levels(x, symbols, grid, scaled, residual)
    return n_beyond


@njit(cache=True, nogil=True)
def symbols_of(x: F32, grid: Grid, scaled: F32, symbols: I32) -> None:
    """Fill `symbols` with signed magnitudes; for the floats, with their bits. `scaled` is scratch."""
    if grid.kind == UNIFORM:
        limit, factor = np.float32(grid.largest), grid.factor
        for i in range(x.size):
            symbols[i] = np.int32(np.rint(min(max(x[i] * factor, -limit), limit)))
    elif grid.kind == MINIFLOAT:
        if grid.shift == 21:  # a constant shift stays within 32 bits, which makes the vectors twice as wide
            minifloat_symbols(x, 21, grid, scaled, symbols)
        else:
            minifloat_symbols(x, grid.shift, grid, scaled, symbols)
    elif grid.kind == BFLOAT16:
        bits = x.view(np.int32)
        for i in range(x.size):
            magnitude = bits[i] & np.int32(0x7FFFFFFF)
            rounded = (magnitude + np.int32(0x7FFF) + ((magnitude >> np.int32(16)) & np.int32(1))) >> np.int32(16)
            sign = (bits[i] >> np.int32(31)) & np.int32(-0x80000000)
            symbols[i] = min(rounded, np.int32(0x7F7F)) << np.int32(16) | sign
    else:
        symbols[:] = x.view(np.int32)


@njit(cache=True, nogil=True)
def split_symbols(symbols: I32, grid: Grid, buckets: U8, raws: npt.NDArray[np.uint8]) -> int:
    """Split each symbol in its bucket and its raw bits (a row of `raws` for every 8); return the largest bucket."""
    largest, last = np.int32(0), np.int32(grid.n_coded)
    origin, modulus = np.int32(grid.origin), np.int32(grid.modulus)
    if grid.kind == FLOAT32 or grid.kind == BFLOAT16:
        low = 0 if grid.kind == FLOAT32 else 16
        for i in range(symbols.size):
            bucket = ((symbols[i] >> np.int32(23)) & np.int32(255)) - origin
            bucket = bucket + modulus if bucket < np.int32(0) else bucket
            largest = max(largest, bucket)
            buckets[i] = np.uint8(min(bucket, last))
        top = raws[(16 - low) >> 3]
        for i in range(symbols.size):
            top[i] = np.uint8(
                ((symbols[i] >> np.int32(16)) & np.int32(127)) | ((symbols[i] >> np.int32(24)) & np.int32(128))
            )
        if grid.kind == FLOAT32:
            for i in range(symbols.size):
                raws[0, i] = np.uint8(symbols[i] & np.int32(255))
                raws[1, i] = np.uint8((symbols[i] >> np.int32(8)) & np.int32(255))
    elif grid.raw_bits == 0:
        for i in range(symbols.size):
            bucket = (abs(symbols[i]) << np.int32(1)) - np.int32(symbols[i] > np.int32(0))
            largest = max(largest, bucket)
            buckets[i] = np.uint8(min(bucket, last))
    elif grid.raw_bits == 2:  # what float8 has; as above
        largest = _split_magnitudes(symbols, 2, grid, buckets, raws[0])
    else:
        largest = _split_magnitudes(symbols, grid.raw_bits, grid, buckets, raws[0])
    return np.int64(largest)


@njit(cache=True, nogil=True, inline="always")
def _split_magnitudes(symbols: I32, raw_bits: int, grid: Grid, buckets: U8, raws: U8) -> np.int32:
    """Split in the upper bits of the magnitude, and the lower ones with the sign; return the largest bucket."""
    largest, last = np.int32(0), np.int32(grid.n_coded)
    origin, modulus, mask = np.int32(grid.origin), np.int32(grid.modulus), np.int32((1 << raw_bits) - 1)
    for i in range(symbols.size):
        magnitude = abs(symbols[i])
        bucket = np.int32(magnitude >> (raw_bits - 1)) - origin
        bucket = bucket + modulus if bucket < np.int32(0) else bucket
        largest = max(largest, np.int32(bucket))
        buckets[i] = np.uint8(min(bucket, last))
        raws[i] = np.uint8(((magnitude << np.int32(1)) & mask) | np.int32(symbols[i] < np.int32(0)))
    return largest


@njit(cache=True, nogil=True)
def buckets_beyond(symbols: I32, grid: Grid, buckets: U8, beyond: I32, n: int) -> int:
    """Append to `beyond`, of which `n` are in use, what the symbols are in whose `buckets` are n_coded."""
    last = np.uint8(grid.n_coded)
    i = next_place(buckets, last, 0)
    while i < buckets.size:
        symbol = np.int64(symbols[i])
        if grid.kind == FLOAT32 or grid.kind == BFLOAT16:
            bucket = ((symbol >> 23) & 255) - grid.origin
        elif grid.raw_bits == 0:
            bucket = 2 * abs(symbol) - np.int64(symbol > 0)
        else:
            bucket = (abs(symbol) >> (grid.raw_bits - 1)) - grid.origin
        beyond[n] = bucket + grid.modulus if bucket < 0 else bucket
        n += 1
        i = next_place(buckets, last, i + 1)
    return n


@njit(cache=True, nogil=True)
def subtract_levels(x: F32, symbols: I32, grid: Grid, scaled: F32, out: F32) -> None:
    """Fill `out` with `x` minus the levels of `symbols`. `scaled` is scratch."""
    if grid.kind == UNIFORM:
        step = grid.unit
        for i in range(x.size):
            out[i] = x[i] - np.float32(symbols[i]) * step
    elif grid.kind == MINIFLOAT:
        minifloat_levels(symbols, grid, scaled)
        for i in range(x.size):
            out[i] = x[i] - scaled[i]
    else:
        levels = symbols.view(np.float32)
        for i in range(x.size):
            out[i] = x[i] - levels[i]
