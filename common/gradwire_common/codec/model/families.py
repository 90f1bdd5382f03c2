"""The families of distributions that a tensor's entries may be fitted by: GenNorm and those it is compared with."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.model.fit import ALPHA_MIN, NOTHING, fit_gennorm
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.model.weibull import DoubleWeibull, fit_double_weibull

F32 = npt.NDArray[np.float32]

Model = GenNorm | DoubleWeibull


def fit_normal(values: F32) -> GenNorm:
    """Return the likeliest normal distribution of mean zero: alpha is sqrt(2) standard deviations."""
    square = float(np.square(values, dtype=np.float64).mean()) if values.size else 0.0
    return GenNorm(2.0, max(math.sqrt(2 * square), ALPHA_MIN))


def fit_laplace(values: F32) -> GenNorm:
    """Return the likeliest Laplace distribution of mean zero: alpha is the mean magnitude."""
    mean = float(np.abs(values).mean(dtype=np.float64)) if values.size else 0.0
    return GenNorm(1.0, max(mean, ALPHA_MIN))


def fit_weibull(values: F32) -> Model:
    """Return the likeliest double Weibull; the GenNorm of nothing where all entries are zero."""
    return fit_double_weibull(values.reshape(-1)) or NOTHING


FAMILIES: Mapping[str, Callable[[F32], Model]] = {
    "normal": fit_normal,
    "laplace": fit_laplace,
    "weibull": fit_weibull,
    "gennorm": fit_gennorm,
}


def standard(model: Model) -> tuple[Model, float]:
    """Return a model of scale 1 whose shape is rounded to an eightieth of itself, and the scale."""
    if isinstance(model, DoubleWeibull):
        return DoubleWeibull(_rounded(model.shape), 1.0), model.scale
    return GenNorm(_rounded(model.beta), 1.0), model.alpha


def _rounded(shape: float) -> float:
    return math.exp(round(80 * math.log(shape)) / 80)
