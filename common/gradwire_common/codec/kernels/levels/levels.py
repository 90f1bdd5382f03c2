"""Buckets and raw bits to levels: stored, or weighted and added to an accumulator.

Every sum is float32(accumulator + float32(weight * level)): a rounded product, then a rounded sum. There is neither
fastmath nor contraction here, so that all machines get the same bits. Levels of zero of the grids leave the accumulator
as it is.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.grids import MINIFLOAT, UNIFORM, Grid
from gradwire_common.codec.kernels.levels.level_tables import place_few, place_magnitudes
from gradwire_common.codec.kernels.native.processor import IN_REGISTERS
from gradwire_common.codec.kernels.native.vector_levels import FEW
from gradwire_common.codec.kernels.quantizing.codes import join_packed
from gradwire_common.codec.kernels.quantizing.minifloat import place_codes
from gradwire_common.codec.kernels.raws import unpack_raws

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]


@njit(cache=True, nogil=True)
def largest_bucket(grid: Grid) -> int:
    """Return the largest bucket that a symbol of `grid` can be in."""
    if grid.raw_bits == 0:
        return 2 * grid.largest
    return grid.largest >> (grid.raw_bits - 1) if grid.kind == UNIFORM else grid.modulus - 1


@njit(cache=True, nogil=True)
def level_of(bucket: int, raw: int, grid: Grid, magnitudes: F32) -> np.float32:
    """Return the level of a UNIFORM or MINIFLOAT symbol; NaN where there is none."""
    if grid.raw_bits == 0:
        magnitude, negative = (bucket + 1) >> 1, bucket & 1 == 0
    else:
        bucket = (bucket + grid.origin) % grid.modulus
        magnitude, negative = bucket << (grid.raw_bits - 1) | raw >> 1, raw & 1 == 1
    if magnitude > grid.largest:
        return np.float32(np.nan)
    if magnitude == 0:
        return np.float32(0)
    level = np.float32(magnitude) * grid.unit if grid.kind == UNIFORM else magnitudes[magnitude]
    return -level if negative else level


@njit(cache=True, nogil=True)
def fill_levels(grid: Grid, magnitudes: F32, weight: np.float32, adding: bool, table: F32) -> None:
    """Fill table[bucket << raw_bits | raw] with the level, or with what it adds; buckets not coded add nothing."""
    nothing = np.float32(-0.0) if adding else np.float32(0)
    for bucket in range(grid.n_coded + 1):
        for raw in range(1 << grid.raw_bits):
            level = level_of(bucket, raw, grid, magnitudes) if bucket < grid.n_coded else np.float32(0)
            if level == 0:
                table[bucket << grid.raw_bits | raw] = nothing
            else:
                table[bucket << grid.raw_bits | raw] = weight * level if adding else level


@njit(cache=True, nogil=True)
def place_levels(
    buckets: U8,
    packed: U8,
    grid: Grid,
    magnitudes: F32,
    levels: F32,
    beyond: I32,
    places: I32,
    weight: np.float32,
    fast: bool,
    adding: bool,
    scratch: U8,
    out: F32,
) -> bool:
    """Store or add the levels of UNIFORM or MINIFLOAT symbols, raw bits `packed`; return whether all exist."""
    raws, shift = scratch[: buckets.size if grid.raw_bits > 0 else 0], np.int32(grid.raw_bits)
    looking_up = fast and IN_REGISTERS
    few = looking_up and shift == 0 and levels.size <= FEW
    if grid.kind == MINIFLOAT and not few:
        restore_beyond(buckets, beyond, places)
        if not join_packed(buckets, packed, grid, fast, raws):
            return False
        if looking_up:
            place_magnitudes(buckets, magnitudes, weight, adding, out)
        else:
            place_codes(buckets, grid, weight, adding, out)
        return True
    if shift > 0:
        unpack_raws(packed, grid.raw_bits, fast, raws)
    if few:
        place_few(buckets, levels, adding, out)
    elif shift == 0 and np.int64(grid.n_coded) <= 2 * np.int64(grid.largest) + 1:
        _place_uniform(buckets, grid, weight, adding, out)
    elif shift > 0 and np.int64(grid.n_coded) << np.int64(shift - 1) <= np.int64(grid.largest) + 1:
        _place_uniform_raw(buckets, raws, grid, weight, adding, out)
    elif shift == 0:
        if adding:
            for i in range(buckets.size):
                out[i] += levels[buckets[i]]
        else:
            for i in range(buckets.size):
                out[i] = levels[buckets[i]]
    elif adding:
        for i in range(buckets.size):
            out[i] += levels[np.int32(buckets[i]) << shift | np.int32(raws[i])]
    else:
        for i in range(buckets.size):
            out[i] = levels[np.int32(buckets[i]) << shift | np.int32(raws[i])]
    for used in range(beyond.size):
        i = places[used]
        level = level_of(np.int64(beyond[used]), np.int64(raws[i]) if shift > 0 else 0, grid, magnitudes)
        if np.isnan(level):
            return False
        out[i] = out[i] + weight * level if adding else level
    return not (np.isnan(levels).any() and np.isnan(out).any())


@njit(cache=True, nogil=True)
def restore_beyond(buckets: U8, beyond: I32, places: I32) -> None:
    """Put what is `beyond`, at most 255, in its `places`."""
    for used in range(beyond.size):
        buckets[places[used]] = np.uint8(beyond[used])


@njit(cache=True, nogil=True)
def _place_uniform(buckets: U8, grid: Grid, weight: np.float32, adding: bool, out: F32) -> None:
    """Store or add UNIFORM levels without raw bits, all of which exist. Buckets that are not coded count as zero.

    Leaves whole steps in `buckets`, in two's complement: with at most 254 buckets they are within 127.
    """
    step, last, steps = grid.unit, np.uint8(grid.n_coded), buckets.view(np.int8)
    for i in range(buckets.size):
        bucket = buckets[i]
        half = np.uint8(bucket >> 1)
        signed = np.uint8(half + 1) if bucket & np.uint8(1) else np.uint8((256 - np.int64(half)) & 255)
        buckets[i] = np.uint8(0) if bucket == last else signed
    if adding:
        for i in range(steps.size):
            total = out[i] + weight * (np.float32(steps[i]) * step)
            out[i] = total if steps[i] != np.int8(0) else out[i]
    else:
        for i in range(steps.size):
            out[i] = np.float32(steps[i]) * step


@njit(cache=True, nogil=True)
def _place_uniform_raw(buckets: U8, raws: U8, grid: Grid, weight: np.float32, adding: bool, out: F32) -> None:
    """Store or add UNIFORM levels with raw bits, all of which exist. Buckets that are not coded count as zero."""
    step, last, width, none = grid.unit, np.uint8(grid.n_coded), np.float32(1 << (grid.raw_bits - 1)), np.float32(0)
    for i in range(buckets.size):
        count = np.float32(buckets[i]) * width + np.float32(np.uint8(raws[i] >> 1))  # exact: below 2**16
        level = (none if buckets[i] == last else count) * step
        level = -level if (raws[i] & np.uint8(1)) & (level > none) else level
        if adding:
            total = out[i] + weight * level
            out[i] = total if level != none else out[i]
        else:
            out[i] = level


@njit(cache=True, nogil=True)
def scatter(
    places: I32, buckets: I32, grid: Grid, magnitudes: F32, levels: F32, weight: np.float32, adding: bool, out: F32
) -> bool:
    """Store or add the levels of the entries that are not zero; return whether all exist."""
    for i in range(places.size):
        bucket = np.int64(buckets[i])
        if bucket < grid.n_coded:
            change = levels[bucket]
        else:
            level = level_of(bucket, 0, grid, magnitudes)
            change = weight * level if adding else level
        if np.isnan(change):
            return False
        out[places[i]] = out[places[i]] + change if adding else change
    return True
