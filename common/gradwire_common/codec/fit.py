"""The fit of a GenNorm to a tensor: moments in one pass, then maximum likelihood on a strided sample."""

import math

import numpy as np
import numpy.typing as npt
from scipy import special

from gradwire_common.codec.gennorm import GenNorm
from gradwire_common.errors import NonFiniteError

BETA_MIN = 0.2
BETA_MAX = 4.0
ALPHA_MIN = 2.0**-149  # gradient units; the least positive float32
N_SAMPLE = 1 << 15


def fit_gennorm(values: npt.NDArray[np.float32]) -> GenNorm:
    """Fit a GenNorm by maximum likelihood."""
    if values.size == 0:
        return GenNorm(1.0, ALPHA_MIN)
    magnitudes = np.abs(values.ravel()).astype(np.float64)
    largest = float(magnitudes.max())
    if not math.isfinite(largest):
        raise NonFiniteError("a value to fit is not finite")
    if largest == 0:
        return GenNorm(1.0, ALPHA_MIN)
    sample = magnitudes[:: max(1, values.size // N_SAMPLE)] / largest
    if not sample.any():
        sample = magnitudes / largest
    logs = np.log(np.maximum(sample, 1e-300))

    def score(beta: float) -> float:
        powers = sample**beta
        total = powers.sum()
        return float(
            1
            + special.digamma(1 / beta) / beta
            - (powers @ logs) * 1 / total
            + math.log(beta * total / sample.size) / beta
        )

    low, high = BETA_MIN, BETA_MAX
    for _ in range(30):
        middle = math.sqrt(low * high)
        if score(middle) > 0:
            low = middle
        else:
            high = middle
    beta = math.sqrt(low * high)
    alpha = (beta * float(np.mean(sample**beta))) ** (1 / beta) * largest
    return GenNorm(beta, max(alpha, ALPHA_MIN))
