"""How the bits are shared out: one step size for all tensors.

That is the rate-distortion optimum under mean square error: it makes the slopes of all tensors equal, and
tensors with small entries get few bits or none.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.model.rates.table import (
    TABLE_BITS_MAX,
    entropy_bits,
    ratio_range,
)
from gradwire_common.codec.model.step_sizes import STEP_MAX, STEP_MIN
from gradwire_common.errors import UsageError

F64 = npt.NDArray[np.float64]


def common_step(models: Sequence[GenNorm], sizes: Sequence[int], bits: float) -> float:
    """Return the one step size at which all tensors together are predicted to cost `bits` per entry.

    Args:
        models: Fits of the tensors.
        sizes: Entries of each tensor, >= 0.
        bits: Mean bits per entry over all tensors, > 0.

    Returns:
        Step size in gradient units, from STEP_MIN to STEP_MAX. Tensors too small for it (zeros only among them) cost
        nothing and leave their share to the others, as long as those stay below TABLE_BITS_MAX bits per entry. The
        prediction is within 0.2 % of `bits` unless one of these limits is met.

    Raises:
        UsageError: bits <= 0, or models and sizes differ in number.

    Source: Gish and Pierce, IEEE Trans. Inf. Theory 14(5), 1968 (uniform steps and entropy coding); equal slopes:
    Shoham and Gersho, IEEE Trans. ASSP 36(9), 1988.
    """
    if not (math.isfinite(bits) and bits > 0):
        raise UsageError(f"bits per entry are {bits}, want a positive finite number")
    beta, alpha, n = _columns(models, sizes)
    fine, coarse = ratio_range(beta)
    log_alpha = np.log(alpha)
    live = (n > 0) & (log_alpha + coarse > math.log(STEP_MIN))
    if not live.any():
        return STEP_MIN
    beta, alpha, n_live = beta[live], alpha[live], n[live]
    target = min(bits * n.sum(), TABLE_BITS_MAX * n_live.sum())

    def excess(log_step: float) -> float:
        total = float(n_live @ entropy_bits(beta, math.exp(log_step) / alpha))
        return math.log(max(total, 1e-9 * target) / target)

    low = float((log_alpha + fine)[live].min()) - 1e-3
    high = float((log_alpha + coarse)[live].max()) + 1e-3
    return _confined(math.exp(brentq(excess, low, high, xtol=1e-6)))


def _columns(models: Sequence[GenNorm], sizes: Sequence[int]) -> tuple[F64, F64, F64]:
    if len(models) != len(sizes):
        raise UsageError(f"got {len(models)} models and {len(sizes)} sizes, want as many of each")
    beta = np.array([model.beta for model in models], np.float64)
    alpha = np.array([model.alpha for model in models], np.float64)
    return beta, alpha, np.array(sizes, np.float64)


def _confined(step: float) -> float:
    return min(max(step, STEP_MIN), STEP_MAX)
