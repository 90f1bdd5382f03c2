"""A tensor's entries by Lloyd's levels of the distribution that is fitted to them."""

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.model.families import FAMILIES, standard
from gradwire_common.codec.model.lloyd import lloyd_magnitudes
from gradwire_common.methods.method import F32

U8 = npt.NDArray[np.uint8]


def quantize_by_fit(values: F32, n_levels: int, family: str, power: float) -> tuple[U8, F32]:
    """Return each value's bin, and what the bins are decoded as: symmetric levels, the negative ones first.

    Args:
        values: (n,) float32.
        n_levels: even, 2 to 256.
        family: of the fit, a name in FAMILIES.
        power: M of the distortion abs(x)^M (x - q)^2.

    Returns:
        (n,) uint8, and (n_levels,) float32; zeros for values that are all zero.
    """
    if not values.any():
        return np.zeros(values.size, np.uint8), np.zeros(n_levels, np.float32)
    model, scale = standard(FAMILIES[family](np.ascontiguousarray(values)))
    half = scale * lloyd_magnitudes(model, n_levels // 2, power)
    borders = ((half[1:] + half[:-1]) / 2).astype(np.float32)
    bins = np.searchsorted(borders, np.abs(values))
    middle = n_levels // 2
    most = float(np.finfo(np.float32).max)
    levels = np.minimum(np.concatenate([-half[::-1], half]), most).astype(np.float32)
    return np.where(values < 0, middle - 1 - bins, middle + bins).astype(np.uint8), levels
