"""Levels by look-ups in registers, for processors with AVX-512 VBMI: of few buckets, or of float8's codes.

The bits are those of the arithmetic that other processors do. A zero leaves a sum as it is: it adds -0.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.native.processor import IN_REGISTERS
from gradwire_common.codec.kernels.native.vector_levels import FEW, MAGNITUDES, look_up_few, look_up_planes

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]

GROUP = 64  # entries at a time
TABLE_BYTES = 4 * max(FEW, MAGNITUDES)


@njit(cache=True, nogil=True)
def place_few(buckets: U8, levels: F32, adding: bool, out: F32) -> None:
    """Store or add levels[bucket], of at most FEW."""
    table = np.zeros(TABLE_BYTES, np.uint8)
    table.view(np.float32)[: levels.size] = levels
    _place(True, buckets, table, adding, out)


@njit(cache=True, nogil=True)
def place_magnitudes(codes: U8, magnitudes: F32, weight: np.float32, adding: bool, out: F32) -> None:
    """Store the levels of minifloat codes, or add `weight` times those that are not zero.

    There are at most MAGNITUDES. Zero comes with the sign, which turns what stands for it here.
    """
    planes = np.zeros(TABLE_BYTES, np.uint8)
    for i in range(magnitudes.size):
        level = weight * magnitudes[i] if adding else magnitudes[i]
        if i == 0:
            level = np.float32(0) if adding else np.float32(-0.0)
        bits = np.int64(np.float32(level).view(np.int32))
        for byte in range(4):
            planes[MAGNITUDES * byte + i] = np.uint8((bits >> 8 * byte) & 255)
    _place(False, codes, planes, adding, out)


@njit(cache=True, nogil=True)
def _place(few: bool, codes: U8, table: U8, adding: bool, out: F32) -> None:
    """Do whole groups where they are, and the rest in a group of its own."""
    done = codes.size // GROUP * GROUP
    rest = codes.size - done
    _place_groups(few, codes[:done], table, adding, out)
    if rest > 0:
        last, there = np.zeros(GROUP, np.uint8), np.zeros(GROUP, np.float32)
        last[:rest], there[:rest] = codes[done:], out[done:]
        _place_groups(few, last, table, adding, there)
        out[done:] = there[:rest]


@njit(cache=True, nogil=True)
def _place_groups(few: bool, codes: U8, table: U8, adding: bool, out: F32) -> None:
    code, n = np.uint64(codes.ctypes.data), np.uint64(codes.size // GROUP)
    address, to = np.uint64(table.ctypes.data), np.uint64(out.ctypes.data)
    if IN_REGISTERS:  # literals, for each of which there is a loop of its own
        if few and adding:
            look_up_few(1, code, n, address, to)
        elif few:
            look_up_few(0, code, n, address, to)
        elif adding:
            look_up_planes(1, code, n, address, to)
        else:
            look_up_planes(0, code, n, address, to)
