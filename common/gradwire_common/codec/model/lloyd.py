"""Levels of least mean distortion abs(x)^M (x - q)^2 of a distribution: Lloyd's iteration on its density.

A threshold is the midpoint of its levels, a level the centre of its cell, int abs(x)^M x p / int abs(x)^M p. Sources:
Lloyd, IEEE Trans. IT 28(2), 1982; Liu, Rini, Salehkalaibar, Chen, "M22", 2023 (the weight abs(x)^M).
"""

from collections.abc import Hashable
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]

N_POINTS = 2048  # of the density, for the levels to begin with
N_STEPS = 400
CLOSE = 1e-7  # relative change of a level at which the iteration ends


class Symmetric(Hashable, Protocol):
    """A distribution that is symmetric around zero; immutable."""

    def density(self, x: npt.ArrayLike) -> F64:
        """Return the density."""

    def quantile(self, p: npt.ArrayLike) -> F64:
        """Return quantiles."""

    def moment(self, order: float) -> float:
        """Return the mean of abs(x)**order."""

    def moment_inside(self, order: float, x: npt.ArrayLike) -> F64:
        """Return the mean of abs(x)**order where the magnitude is below `x`."""


@lru_cache(maxsize=1024)
def lloyd_magnitudes(model: Symmetric, n: int, power: float = 0.0) -> F64:
    """Return the `n` positive ones of 2n symmetric levels, ascending, in the unit of the model; do not write to it.

    Args:
        model: a distribution; callers make its scale 1 and round its shape, so that levels are found once.
        n: from 1 to 128.
        power: M, from 0.
    """
    points = np.geomspace(float(model.quantile(0.5 + 1e-6)), float(model.quantile(1 - 1e-9)), N_POINTS)
    share = np.cumsum((points**power * model.density(points)) ** (1 / 3) * np.gradient(points))
    levels = np.interp((np.arange(n) + 0.5) / n, share / share[-1], points)
    whole = model.moment(power), model.moment(power + 1)
    for _ in range(N_STEPS):
        borders = np.concatenate([[0.0], (levels[1:] + levels[:-1]) / 2])
        mass, first = (np.diff(np.append(model.moment_inside(power + i, borders), whole[i])) for i in (0, 1))
        centres = np.divide(first, mass, out=levels.copy(), where=mass > 1e-14 * whole[0])
        done = bool(np.all(np.abs(centres - levels) <= CLOSE * levels))
        levels = centres
        if done:
            break
    return levels
