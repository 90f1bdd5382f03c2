"""What the codec makes of tensors, predicted by their fits and achieved."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.fit import fit_gennorm
from gradwire_common.codec.frames import encode_frame
from gradwire_common.codec.gennorm import GenNorm
from gradwire_common.codec.quantizers import (
    Float32,
    Minifloat,
    Quantizer,
    Uniform,
    build_quantizer,
)
from gradwire_common.codec.quantizers.minifloat import grid_distortion
from gradwire_common.codec.rate_model import common_step, distortion, entropy_bits, step_per_tensor
from gradwire_common.codec.transforms import build_transform
from gradwire_common.errors import NonFiniteError
from gradwire_common.method import Method

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Inspected:
    """One tensor and its fit; bits per entry and NMSE, predicted by it (None where it says nothing) and achieved."""

    name: str
    values: F32
    model: GenNorm
    predicted_bits: float | None
    predicted_nmse: float | None
    bits: float
    nmse: float


def inspect_tensors(tensors: dict[str, F32], method: Method) -> Iterator[Inspected]:
    """Transform, fit, quantise and encode each tensor by `method`; what is told is told of its coefficients.

    Raises:
        NonFiniteError: names the tensor that has entries which are not finite.
    """
    transform = build_transform(method.transform)
    tensors = {name: transform.forward(values).reshape(-1) for name, values in tensors.items()}
    models = {}
    for name, values in tensors.items():
        try:
            models[name] = fit_gennorm(values)
        except NonFiniteError as error:
            raise NonFiniteError(f"{name}: {error}") from None
    for (name, values), quantizer in zip(tensors.items(), _quantizers(tensors, models, method), strict=True):
        model, residual = models[name], np.empty_like(values)
        raw = method.quantizer == "float32"
        frame = encode_frame(values, quantizer, model, residual=residual, raw=raw)
        bits, lost = predict(quantizer, model, raw=raw)
        yield Inspected(name, values, model, bits, lost, 8 * len(frame) / values.size, nmse(residual, values))


def predict(quantizer: Quantizer, model: GenNorm, *, raw: bool = False) -> tuple[float | None, float | None]:
    """Return bits per entry and NMSE that `model` expects of `quantizer`; None where it does not tell."""
    if isinstance(quantizer, Float32):
        return 32.0 if raw else None, 0.0
    if isinstance(quantizer, Uniform):
        ratio = quantizer.step / model.alpha
        return float(entropy_bits(model.beta, ratio)), float(distortion(model.beta, ratio)) * _gain(model)
    if isinstance(quantizer, Minifloat):
        p = quantizer.cell_probabilities(model)
        p = p[p > 0]
        lost = float(grid_distortion(quantizer.form, model.beta, quantizer.scale * model.alpha))
        return float((p * np.log2(1 / p)).sum()), lost * _gain(model)
    return None, None


def nmse(lost: F32, values: F32) -> float:
    """Return mean square of `lost` / mean square of `values`; 0 where nothing was lost."""
    error = float(np.square(lost, dtype=np.float64).sum())
    return error / float(np.square(values, dtype=np.float64).sum()) if error else 0.0


def _quantizers(tensors: dict[str, F32], models: dict[str, GenNorm], method: Method) -> list[Quantizer]:
    fits = list(models.values())
    if method.quantizer in ("float32", "lossless"):
        return [Float32()] * len(fits)
    if method.quantizer != "uniform":
        return [build_quantizer(method.quantizer, model=model) for model in fits]
    if method.allocation == "per-tensor":
        return [build_quantizer("uniform", step=step) for step in step_per_tensor(fits, method.bits)]
    step = common_step(fits, [values.size for values in tensors.values()], method.bits)
    return [build_quantizer("uniform", step=step)] * len(fits)


def _gain(model: GenNorm) -> float:
    """Units of alpha**2 in the mean square."""
    return model.alpha**2 / model.variance
