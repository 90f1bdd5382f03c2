"""The step sizes that float32 allows, and how many levels there are at one."""

import math

import numpy as np

K_MAX = 1 << 20  # levels each side; float32 resolves an eighth of a level there, and 2**22 bounds the rounding trick
STEP_MIN = 2.0**-126  # gradient units; below it 1 / step or step itself leaves the normal float32 range
STEP_MAX = 2.0**126  # gradient units


def n_levels(step: float) -> int:
    """Return how many levels each side has at a step size: K_MAX, or fewer where that level would exceed float32."""
    return min(K_MAX, math.floor(float(np.finfo(np.float32).max) / float(np.float32(step))))
