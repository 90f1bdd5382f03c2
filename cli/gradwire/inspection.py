"""`gradwire inspect`: what the codec makes of every tensor of a file, predicted and achieved."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
from rich import box
from rich.console import Console
from rich.table import Table

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
from gradwire_common.errors import DataError, NonFiniteError, UsageError
from gradwire_common.method import Method

F32 = npt.NDArray[np.float32]

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}  # names of safetensors; BF16 is widened by hand


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


def inspect_file(file: Path, method: Method, plot: Path) -> None:
    """Print a table of every floating-point tensor of `file` and draw a picture of it.

    Raises:
        UsageError: if the file cannot be read, or `plot` not be written.
        DataError: if it is no safetensors file, or a tensor has entries that are not finite.
    """
    from gradwire.inspection_plot import draw_inspection

    console = Console()
    tensors, passed_over = read_tensors(file)
    if not tensors:
        raise DataError(f"{file}: got no floating-point tensor with entries, want at least one")
    with console.status("fitting and encoding"):
        inspected = list(inspect_tensors(tensors, method))
    console.print(inspection_table(file.name, inspected, method))
    if passed_over:
        console.print(f"passed over, being whole numbers or empty: {', '.join(passed_over)}", highlight=False)
    try:
        draw_inspection(plot, inspected)
    except OSError as error:
        raise UsageError(f"{plot}: {error.strerror}; want a file that can be written") from None
    console.print(f"picture: {plot}", highlight=False, soft_wrap=True)


def read_tensors(file: Path) -> tuple[dict[str, F32], list[str]]:
    """Return the floating-point tensors of a safetensors file as float32, and the names of the others.

    Raises:
        UsageError: if the file cannot be read.
        DataError: if it is no safetensors file.
    """
    try:
        entries = safetensors.deserialize(file.read_bytes())  # type: ignore[no-untyped-call]
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}; want a readable safetensors file") from None
    except safetensors.SafetensorError as error:
        raise DataError(f"{file}: no safetensors file: {error}") from None
    tensors, passed_over = {}, []
    for name, entry in sorted(entries):
        values = _as_float32(entry["dtype"], entry["data"])
        if values is None or not values.size:
            passed_over.append(name)
        else:
            tensors[name] = values.reshape(entry["shape"])
    return tensors, passed_over


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


def inspection_table(title: str, inspected: list[Inspected], method: Method) -> Table:
    """Return one row a tensor and one for all."""
    how = f"uniform, {method.bits:g} bits an entry" if method.quantizer == "uniform" else method.quantizer
    how += f", {method.transform}" if method.transform != "none" else ""
    table = Table(
        title=f"{title}, {how}",
        title_justify="left",
        header_style="bold",
        show_footer=len(inspected) > 1,
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    sizes = np.array([each.values.size for each in inspected])
    power = np.array([float(np.square(each.values, dtype=np.float64).sum()) for each in inspected])
    table.add_column("tensor", "all", overflow="fold")
    table.add_column("entries", f"{sizes.sum():,}", justify="right", no_wrap=True)
    table.add_column("beta", justify="right", no_wrap=True)
    table.add_column("alpha", justify="right", no_wrap=True)
    for name, weights in (("bits", sizes), ("NMSE", power)):
        attribute, form = name.lower(), _FORMS[name]
        for kind, prefix in (("predicted", "predicted_"), ("achieved", "")):
            values = [getattr(each, prefix + attribute) for each in inspected]
            table.add_column(f"{name}\n{kind}", form(_mean(values, weights)), justify="right", no_wrap=True)
    for each in inspected:
        table.add_row(
            each.name,
            f"{each.values.size:,}",
            f"{each.model.beta:.3f}",
            f"{each.model.alpha:.3g}",
            _bits(each.predicted_bits),
            _bits(each.bits),
            _nmse(each.predicted_nmse),
            _nmse(each.nmse),
        )
    return table


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


def _as_float32(dtype: str, data: bytes) -> F32 | None:
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << np.uint32(16)).view(np.float32)
    if dtype in _DTYPES:
        with np.errstate(over="ignore"):
            return np.frombuffer(data, _DTYPES[dtype]).astype(np.float32)
    return None


def _gain(model: GenNorm) -> float:
    """Units of alpha**2 in the mean square."""
    return model.alpha**2 / model.variance


def _mean(values: list[float | None], weights: npt.NDArray[Any]) -> float | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not weights.sum():
        return None
    return float(np.average(np.array(known), weights=weights))


def _bits(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _nmse(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.3g}"


_FORMS = {"bits": _bits, "NMSE": _nmse}
