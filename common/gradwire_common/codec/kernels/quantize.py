# mypy: disable-error-code="arg-type, assignment, return-value"
# numba's integers are NumPy's: np.int64 stands where Python has int.
"""Entries to buckets and raw bits, a block at a time: arithmetic that vectorises, the same as the quantisers' own.

A symbol is a magnitude and a sign. Without raw bits bucket 0 is zero, 2 m - 1 is +m, 2 m is -m. With them, bucket and
raw bits are the upper and lower bits of the magnitude, and the sign is the lowest raw bit. Buckets from `n_coded` on
are stored as `n_coded`; `buckets_beyond` lists what they are.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.scanning import next_place

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
I32 = npt.NDArray[np.int32]

UNIFORM, MINIFLOAT, FLOAT32, BFLOAT16 = 0, 1, 2, 3
FLOAT4_LEVELS = 5  # above zero
INFINITY_BITS = np.uint32(0x7F800000)
MAGNITUDE_MASK = np.uint32(0x7FFFFFFF)


class Grid(NamedTuple):
    """A quantiser and a bucket layout, as the kernels take them.

    Attributes:
        kind: UNIFORM, MINIFLOAT, FLOAT32 or BFLOAT16.
        factor: What an entry is multiplied by first: 1 / step size, or the scale.
        unit: What a level of the grid is multiplied by (UNIFORM: step size) or divided by (MINIFLOAT: scale).
        largest: Largest magnitude.
        subnormal: MINIFLOAT: least normal level.
        rounder: MINIFLOAT: adding it rounds a subnormal to the grid.
        shift: MINIFLOAT: mantissa bits of float32 below those of the grid.
        rebias: MINIFLOAT: what to take from the shifted bits of a normal.
        raw_bits, origin, modulus, n_coded: Bucket layout.
    """

    kind: int
    factor: np.float32
    unit: np.float32
    largest: int
    subnormal: np.float32
    rounder: np.float32
    shift: int
    rebias: int
    raw_bits: int
    origin: int
    modulus: int
    n_coded: int


@njit(cache=True, nogil=True)
def largest_bits(bits: U32) -> np.uint32:
    """Return the bits of the largest magnitude; INFINITY_BITS or more where an entry is not finite."""
    largest = np.uint32(0)
    for i in range(bits.size):
        largest = max(largest, bits[i] & MAGNITUDE_MASK)
    return largest


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
    scratch. Returns how much of `beyond` is in use then; -1 where an entry is not finite.
    """
    if largest_bits(x.view(np.uint32)) >= INFINITY_BITS:
        return -1
    if grid.kind == UNIFORM and grid.raw_bits == 0:
        if quick_uniform_buckets(x, grid, buckets) >= grid.n_coded:
            n_beyond = quick_beyond(x, grid, buckets, beyond, n_beyond)
        if residual.size > 0:
            subtract_uniform(x, grid, residual)
        return n_beyond
    is_float4 = grid.kind == MINIFLOAT and grid.raw_bits == 0 and grid.largest == FLOAT4_LEVELS
    if is_float4 and grid.n_coded > 2 * FLOAT4_LEVELS:
        quick_float4_buckets(x, grid, buckets)
        if residual.size > 0:
            subtract_float4(x, grid, residual)
        return n_beyond
    scaled, symbols = scaled[: x.size], symbols[: x.size]
    symbols_of(x, grid, scaled, symbols)
    if split_symbols(symbols, grid, buckets, raws) >= grid.n_coded:
        n_beyond = buckets_beyond(symbols, grid, buckets, beyond, n_beyond)
    if residual.size > 0:
        subtract_levels(x, symbols, grid, scaled, residual)
    return n_beyond


@njit(cache=True, nogil=True)
def quick_uniform_buckets(x: F32, grid: Grid, buckets: U8) -> int:
    """Fill `buckets` for UNIFORM without raw bits, in one pass; return the largest, n_coded for all from there on."""
    factor, last = grid.factor, np.int32(grid.n_coded)
    limit = np.float32(min(grid.n_coded // 2 + 1, grid.largest))
    largest = np.int32(0)
    for i in range(x.size):
        symbol = np.int32(np.rint(min(max(x[i] * factor, -limit), limit)))
        bucket = min((abs(symbol) << np.int32(1)) - np.int32(symbol > np.int32(0)), last)
        largest = max(largest, bucket)
        buckets[i] = np.uint8(bucket)
    return np.int64(largest)


@njit(cache=True, nogil=True)
def quick_beyond(x: F32, grid: Grid, buckets: U8, beyond: I32, n: int) -> int:
    """Append to `beyond`, of which `n` are in use, what UNIFORM entries are in that `buckets` hold as n_coded."""
    factor, limit, last = grid.factor, np.float32(grid.largest), np.uint8(grid.n_coded)
    i = next_place(buckets, last, 0)
    while i < buckets.size:
        symbol = np.int64(np.rint(min(max(x[i] * factor, -limit), limit)))
        beyond[n] = 2 * abs(symbol) - np.int64(symbol > 0)
        n += 1
        i = next_place(buckets, last, i + 1)
    return n


@njit(cache=True, nogil=True)
def quick_float4_buckets(x: F32, grid: Grid, buckets: U8) -> None:
    """Fill `buckets` for float4 1-2-1 without raw bits, all coded, in one pass.

    In units of the least level its magnitudes are 0, 1, 2, 3, 4, 6; a tie between the last two goes to 4.
    """
    factor, finer = grid.factor, np.float32(1 << (23 - grid.shift)) / grid.subnormal
    largest, last_tie = np.float32(4), np.float32(5)
    for i in range(x.size):
        y = x[i] * factor * finer
        size = abs(y)
        magnitude = np.int32(np.rint(min(size, largest))) + np.int32(size > last_tie)
        buckets[i] = np.uint8((magnitude << np.int32(1)) - np.int32((y > np.float32(0)) & (magnitude > np.int32(0))))


@njit(cache=True, nogil=True)
def symbols_of(x: F32, grid: Grid, scaled: F32, symbols: I32) -> None:
    """Fill `symbols` with signed magnitudes; for the floats, with their bits. `scaled` is scratch."""
    if grid.kind == UNIFORM:
        limit, factor = np.float32(grid.largest), grid.factor
        for i in range(x.size):
            symbols[i] = np.int32(np.rint(min(max(x[i] * factor, -limit), limit)))
    elif grid.kind == MINIFLOAT:
        if grid.shift == 21:  # a constant shift stays within 32 bits, which makes the vectors twice as wide
            _minifloat_symbols(x, 21, grid, scaled, symbols)
        else:
            _minifloat_symbols(x, grid.shift, grid, scaled, symbols)
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
def subtract_float4(x: F32, grid: Grid, out: F32) -> None:
    """Fill `out` with `x` minus its own float4 1-2-1 levels, as `quick_float4_buckets` chooses them."""
    factor, unit, finer = grid.factor, grid.unit, np.float32(1 << (23 - grid.shift)) / grid.subnormal
    least, largest, last_tie = np.float32(1) / finer, np.float32(4), np.float32(5)
    for i in range(x.size):
        y = x[i] * factor * finer
        size = abs(y)
        count = np.rint(min(size, largest)) + (np.float32(2) if size > last_tie else np.float32(0))
        level = count * least / unit
        out[i] = x[i] - (-level if y < np.float32(0) else level)


@njit(cache=True, nogil=True, inline="always")
def _minifloat_symbols(x: F32, shift: int, grid: Grid, scaled: F32, symbols: I32) -> None:
    """Normals are rounded in the bits of a float32; subnormals by adding a number whose last bit is their spacing."""
    factor, rounder = grid.factor, grid.rounder
    rebias, largest = np.int32(grid.rebias), np.int32(grid.largest)
    half, least_normal = np.int32((1 << (shift - 1)) - 1), np.int32(1 << (23 - shift))
    bits, rounded, levels = scaled.view(np.int32), symbols, symbols.view(np.float32)
    for i in range(x.size):
        y = abs(x[i] * factor)
        scaled[i] = y
        levels[i] = y + rounder
    for i in range(x.size):
        u, subnormal, negative = bits[i], rounded[i] & np.int32(0x7FFFFF), x[i] < np.float32(0)
        normal = ((u + half + ((u >> shift) & np.int32(1))) >> shift) - rebias
        magnitude = min(normal if normal > least_normal else subnormal, largest)
        symbols[i] = -magnitude if negative else magnitude


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
        _minifloat_levels(symbols, grid, scaled)
        for i in range(x.size):
            out[i] = x[i] - scaled[i]
    else:
        levels = symbols.view(np.float32)
        for i in range(x.size):
            out[i] = x[i] - levels[i]


@njit(cache=True, nogil=True)
def subtract_uniform(x: F32, grid: Grid, out: F32) -> None:
    """Fill `out` with `x` minus its own UNIFORM levels."""
    factor, step, limit = grid.factor, grid.unit, np.float32(grid.largest)
    for i in range(x.size):
        out[i] = x[i] - np.rint(min(max(x[i] * factor, -limit), limit)) * step


@njit(cache=True, nogil=True)
def _minifloat_levels(symbols: I32, grid: Grid, levels: F32) -> None:
    """Fill `levels` with those of MINIFLOAT `symbols`."""
    shift, rebias = np.int32(grid.shift), np.int32(grid.rebias)
    least_normal, spacing, unit = (
        np.int32(1 << (23 - grid.shift)),
        grid.subnormal / np.float32(1 << (23 - grid.shift)),
        grid.unit,
    )
    bits = levels.view(np.int32)
    for i in range(symbols.size):
        bits[i] = (abs(symbols[i]) + rebias) << shift
    for i in range(symbols.size):
        magnitude, normal = abs(symbols[i]), levels[i]
        level = (np.float32(magnitude) * spacing if magnitude < least_normal else normal) / unit
        levels[i] = -level if symbols[i] < np.int32(0) else level
