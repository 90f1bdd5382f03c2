"""Residual memory, also called error feedback: what quantising lost joins the next gradient."""

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]

BLOCK = 1 << 16  # entries scaled at a time; 256 KiB stay in the cache


class ResidualMemory:
    """The residual r of one worker: u = g + gamma r is pushed, and then r = u - what the server decodes.

    Nothing is lost, bit for bit: decoded + residual == u, as long as the level nearest to u is zero or within a factor
    of two of it, which holds for every quantiser here but for saturated entries.

    Attributes:
        values: (n,) float32, the residual; `UpdateEncoder.encode` writes it.
    """

    def __init__(self, values: F32, gamma: float):
        self.values = values
        self.gamma = gamma

    def add_to(self, gradient: F32, first: int = 0) -> None:
        """Turn `gradient` into u = gradient + gamma * residual in place: float32 product, rounded, then sum.

        Args:
            gradient: (n,) or a part of it, float32.
            first: the entry of the residual that it begins at.
        """
        values = self.values[first : first + gradient.size]
        if self.gamma == 1.0:
            np.add(gradient, values, out=gradient)
            return
        if self.gamma == 0.0:
            return
        for start in range(0, gradient.size, BLOCK):
            part = slice(start, start + BLOCK)
            gradient[part] += np.float32(self.gamma) * values[part]

    def keep(self, u: F32, weight: float = 1.0) -> None:
        """Make `weight` times `u` the residual: nothing of the push that carried it was applied."""
        np.multiply(u, np.float32(weight), out=self.values)
