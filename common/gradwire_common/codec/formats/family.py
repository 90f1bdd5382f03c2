"""What every quantiser offers, their names in configurations, and how one is chosen for a fit."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.formats.exact import BFloat16, Float32
from gradwire_common.codec.formats.minifloat import (
    FORMATS,
    Minifloat,
    MinifloatFormat,
    optimal_scale,
    scale_limits,
)
from gradwire_common.codec.formats.uniform import STEP_MAX, STEP_MIN, Uniform
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.errors import UsageError

QUANTIZER_NAMES = ("float32", "bfloat16", *FORMATS, "uniform")


class Quantizer(Protocol):
    """x -> symbol and symbol -> level; a frozen, hashable value."""

    @property
    def name(self) -> str:
        """Name in configurations."""

    def quantize(self, x: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Return the symbol of each entry of finite `x`, in the shape of `x`."""

    def dequantize(self, symbols: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return the level of each symbol."""


def build_quantizer(name: str, model: GenNorm | None = None, step: float | None = None) -> Quantizer:
    """Choose the quantiser called `name`.

    Args:
        name: One of QUANTIZER_NAMES.
        model: Fit of the entries; the float8 and float4 grids take their scale from it.
        step: Step size in gradient units; uniform takes it, clipped to what float32 allows.

    Returns:
        Quantiser.

    Raises:
        UsageError: Unknown name, or the model or step that it needs is missing.
    """
    if name == "float32":
        return Float32()
    if name == "bfloat16":
        return BFloat16()
    if name == "uniform":
        if step is None:
            raise UsageError("quantiser uniform needs a step size, got none")
        return Uniform(min(max(step, STEP_MIN), STEP_MAX))
    if name in FORMATS:
        if model is None:
            raise UsageError(f"quantiser {name} needs a fitted model, got none")
        return fitted_minifloat(FORMATS[name], model)
    raise UsageError(f"quantiser is {name!r}, want one of {', '.join(QUANTIZER_NAMES)}")


def fitted_minifloat(form: MinifloatFormat, model: GenNorm) -> Minifloat:
    """Return the grid `form` at the scale of least mean square error under `model`, within what float32 allows."""
    low, high = scale_limits(form)
    return Minifloat(form, min(max(optimal_scale(form, model.beta) / model.alpha, low), high))
