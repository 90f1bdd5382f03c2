"""The statistical quantiser: bins over the mean and three deviations either way, each decoded as its members' mean.

Source: the public code of INTELLECT-1 (256 bins) and SparseLoCo (4 bins; Sarfi et al., 2025); Douillard et al., 2025.
"""

import math

import numpy as np
import numpy.typing as npt

from gradwire_common.methods.method import F32

U8 = npt.NDArray[np.uint8]

DEVIATIONS = 6.0  # that all bins together are wide


def quantize(values: F32, n_bins: int) -> tuple[U8, F32]:
    """Return each value's bin, and what the bins are decoded as.

    q = clip(round((v - m) / s + n / 2), 0, n - 1) with m the mean and s = 6 sigma / n, sigma with n - 1 in its
    denominator; sums are taken in float64, and means rounded to float32.

    Args:
        values: (n,) float32.
        n_bins: 2 to 256.

    Returns:
        (n,) uint8, and (n_bins,) float32; 0 for a bin without members.
    """
    levels = np.zeros(n_bins, np.float32)
    if not values.size:
        return np.empty(0, np.uint8), levels
    wide = values.astype(np.float64)
    centred = wide - wide.mean()
    deviation = math.sqrt(float(np.square(centred).sum()) / max(values.size - 1, 1))
    step = DEVIATIONS * deviation / n_bins or 1.0
    bins = np.clip(np.rint(centred / step + n_bins // 2), 0, n_bins - 1).astype(np.uint8)
    counts = np.bincount(bins, minlength=n_bins)
    sums = np.bincount(bins, wide, n_bins)
    used = counts > 0
    levels[used] = (sums[used] / counts[used]).astype(np.float32)
    return bins, levels
