"""Residual memory, also called error feedback: what quantising lost joins the next update.

u = g + gamma r is sent, and then r = u - what the other end decodes. Nothing is lost, bit for bit: decoded + r == u, as
long as the level nearest to u is zero or within a factor of two of it, which holds for every quantiser here but for
saturated entries.
"""

import numpy as np

from gradwire_common.methods.method import F32

BLOCK = 1 << 16  # entries scaled at a time; 256 KiB stay in the cache


def add_residual(update: F32, residual: F32, gamma: float) -> None:
    """Turn `update` into u = update + gamma * residual in place: float32 product, rounded, then sum.

    Args:
        update: (n,) float32.
        residual: (n,) float32.
        gamma: decay of the memory, 0 to 1.
    """
    if gamma == 1.0:
        np.add(update, residual, out=update)
        return
    if gamma == 0.0:
        return
    for start in range(0, update.size, BLOCK):
        part = slice(start, start + BLOCK)
        update[part] += np.float32(gamma) * residual[part]
