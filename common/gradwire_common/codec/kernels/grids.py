"""A quantiser and a bucket layout, as the kernels take them."""

from typing import NamedTuple

import numpy as np

UNIFORM, MINIFLOAT, FLOAT32, BFLOAT16 = 0, 1, 2, 3
MAGNITUDE_MASK = np.int32(0x7FFFFFFF)  # of a float32's bits
INFINITY_BITS = np.int32(0x7F800000)  # a magnitude from there on is no finite number


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


def looks_levels_up(grid: Grid) -> bool:
    """Return whether decoding wants a table of levels by bucket and raw bits: float8 with raw bits goes by codes."""
    return grid.kind == UNIFORM or (grid.kind == MINIFLOAT and grid.raw_bits == 0)
