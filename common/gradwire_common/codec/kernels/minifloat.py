# mypy: disable-error-code="arg-type, assignment, return-value"
# numba's integers are NumPy's: np.int64 stands where Python has int.
"""Entries to the symbols of a small floating-point grid, and these to levels."""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.grids import Grid

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]


@njit(cache=True, nogil=True, inline="always")
def minifloat_symbols(x: F32, shift: int, grid: Grid, scaled: F32, symbols: I32) -> None:
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
def minifloat_levels(symbols: I32, grid: Grid, levels: F32) -> None:
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
