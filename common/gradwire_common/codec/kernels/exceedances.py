"""Kernels of the measured rate: how many magnitudes exceed each of a few borders, and what quantising them gains."""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.moments import LOG2_UNIT, ONE_BITS, REORDER

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

BLOCK = 512  # entries; stays in the first-level cache for all borders, and is short enough to be spread over a tensor


@njit(cache=True, nogil=True)
def _count(x: F32, border: np.float32) -> np.int32:
    count = np.int32(0)
    for i in range(x.size):
        count += np.int32(abs(x[i]) > border)
    return count


@njit(cache=True, nogil=True)
def _excesses(x: F32, border: np.float32, inverse_step: np.float32, excess: F32) -> float:
    """Sum log2(1 + excess in steps) over the magnitudes above `border`; straight between powers of two."""
    for i in range(x.size):
        excess[i] = max((abs(x[i]) - border) * inverse_step, np.float32(0)) + np.float32(1)
    bits, total = excess.view(np.int32), np.int64(0)
    for i in range(x.size):
        total += np.int64(bits[i] - ONE_BITS)
    return np.float64(total) * LOG2_UNIT


@njit(cache=True, nogil=True)
def exceedances(
    x: F32, borders: F32, inverse_step: np.float32, every: int, scratch: F32, counts: I64
) -> tuple[int, float]:
    """Count the magnitudes above each of ascending `borders` in every `every`-th block.

    Args:
        x: Entries.
        borders: Finite, > 0.
        inverse_step: 1 / step size, by which what is above the last border is counted in steps.
        every: Blocks from one that is read to the next.
        scratch: (BLOCK,) float32; overwritten.
        counts: (borders.size,) int64; receives the counts.

    Returns:
        How many entries were read, and the sum of log2(1 + steps above the last border) over those above it.
    """
    counts[:] = 0
    n_read, far = 0, 0.0
    for start in range(0, x.size, BLOCK * every):
        block = x[start : start + BLOCK]
        count = np.int32(1)
        for j in range(borders.size):
            count = _count(block, borders[j])
            if count == 0:
                break
            counts[j] += np.int64(count)
        if count > 0:
            far += _excesses(block, borders[-1], inverse_step, scratch[: block.size])
        n_read += block.size
    return n_read, far


@njit(cache=True, nogil=True, fastmath=REORDER)
def gains(x: F32, step: float, k_max: float, every: int) -> tuple[float, float]:
    """Return what the entries that are sent at `step` have of energy, and how much less their errors have.

    Args:
        x: Entries.
        step: Step size; 1 / step must be finite.
        k_max: Largest level, in steps.
        every: Blocks from one that is read to the next.

    Returns:
        Sums over the entries of every `every`-th block that round to a level q other than 0: of x**2, and of
        x**2 - (x - q)**2, in squared steps.
    """
    inverse, energy, gain = 1.0 / step, 0.0, 0.0
    for start in range(0, x.size, BLOCK * every):
        block = x[start : start + BLOCK]
        for i in range(block.size):
            steps = abs(np.float64(block[i])) * inverse
            level = min(np.rint(steps), k_max)
            energy += steps * steps if level > 0.0 else 0.0
            gain += level * (2.0 * steps - level)
    return energy, gain
