"""Entropy and distortion of the uniform mid-tread quantiser on GenNorm data, from incomplete gamma functions.

alpha is 1 here and ratio = step / alpha. With a = 1/beta and z = t**beta, the mass beyond t on both sides is Q(a, z),
and the m-th moment of the magnitude beyond t is Q((m + 1) a, z) Gamma((m + 1) a) / Gamma(a). The first cells are taken
one by one; beyond them the density hardly changes within a cell, so the sum over cells is an integral in closed form:

    entropy:     integral of -p log(p ratio)        distortion:     ratio**2 / 12 of the mass
"""

import math

import numpy as np
import numpy.typing as npt
from scipy import special

F64 = npt.NDArray[np.float64]

N_CELLS = 32  # positive cells taken one by one; what the integral misses after them is below 5e-5 of the whole


def entropy_integral(beta: npt.ArrayLike, ratio: npt.ArrayLike) -> F64:
    """Return the entropy of the symbols.

    Args:
        beta: Shapes, > 0.
        ratio: Step size / alpha, > 0; broadcasts with `beta`.

    Returns:
        Bits per entry, float64, in the broadcast shape.
    """
    a, ratio = 1 / np.asarray(beta, np.float64), np.asarray(ratio, np.float64)
    borders = _borders(a, ratio)
    beyond = special.gammaincc(a[..., None], borders)
    rings = beyond[..., :-1] - beyond[..., 1:]  # of two cells each
    nats = -special.xlog1py(1 - beyond[..., 0], -beyond[..., 0]) - special.xlogy(rings, rings / 2).sum(axis=-1)
    log_peak = np.log(2 * a) + special.gammaln(a) - np.log(ratio)  # minus the log of the density at 0 times the ratio
    nats += beyond[..., -1] * log_peak + a * special.gammaincc(a + 1, borders[..., -1])
    return np.asarray(nats / math.log(2))


def distortion_integral(beta: npt.ArrayLike, ratio: npt.ArrayLike) -> F64:
    """Return the mean square error.

    Args:
        beta: Shapes, > 0.
        ratio: Step size / alpha, > 0; broadcasts with `beta`.

    Returns:
        In units of alpha**2, float64, in the broadcast shape.
    """
    a, ratio = 1 / np.asarray(beta, np.float64), np.asarray(ratio, np.float64)
    borders = _borders(a, ratio)
    levels = ratio[..., None] * np.arange(N_CELLS + 1)
    beyond = special.gammaincc(a[..., None], borders)
    total = beyond[..., -1] * ratio**2 / 12
    for order, factor in ((0, levels**2), (1, -2 * levels), (2, np.ones_like(levels))):
        part = special.gammaincc((order + 1) * a[..., None], borders) if order else beyond
        mass = -np.diff(part, axis=-1, prepend=1.0)
        total = total + (mass * factor).sum(axis=-1) * np.exp(special.gammaln((order + 1) * a) - special.gammaln(a))
    return np.asarray(total)


def _borders(a: F64, ratio: F64) -> F64:
    """Upper borders of the cells 0..N_CELLS as z, in a last axis."""
    with np.errstate(over="ignore"):
        return np.asarray((ratio[..., None] * (np.arange(N_CELLS + 1) + 0.5)) ** (1 / a[..., None]))
