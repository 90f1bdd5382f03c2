"""What the codec makes of tensors, predicted by their fits and achieved."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.model.tensor_fit import TensorFit, fit_tensor
from gradwire_common.errors import NonFiniteError, UsageError
from gradwire_common.methods.coding import EXACT, Coding, plan_codings, unfitted_coding
from gradwire_common.methods.dead_zone import HALF
from gradwire_common.methods.entropy import Entropy
from gradwire_common.methods.method import Method
from gradwire_common.methods.transforms.registry import build_transform

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
    """Transform, fit, quantise and encode each tensor by `method`; what is reported is of its coefficients.

    Raises:
        NonFiniteError: names the tensor that has entries which are not finite.
        UsageError: no distribution says anything of the method.
    """
    transform = build_transform(method.transform if isinstance(method, Entropy) else "none")
    tensors = {name: transform.forward(values).reshape(-1) for name, values in tensors.items()}
    fits = {}
    for name, values in tensors.items():
        try:
            fits[name] = fit_tensor(values)
        except NonFiniteError as error:
            raise NonFiniteError(f"{name}: {error}") from None
    for (name, values), coding in zip(tensors.items(), _codings(list(fits.values()), method), strict=True):
        model, residual = fits[name].model, np.empty_like(values)
        frame = (
            method.code(coding, values, residual) if isinstance(method, Entropy) else coding.encode(values, residual)
        )
        bits, lost = coding.quantizer.predict(model)
        if coding.raw:
            bits = 8.0 * np.dtype(coding.quantizer.format.raw_dtype).itemsize
        elif isinstance(method, Entropy) and (method.means or method.dead_zone != HALF):
            bits, lost = (bits if method.dead_zone == HALF else None), None  # what is predicted is of whole steps alone
        yield Inspected(name, values, model, bits, lost, 8 * len(frame) / values.size, nmse(residual, values))


def _codings(fits: list[TensorFit], method: Method) -> list[Coding]:
    if method.stored:
        return [Coding(EXACT, raw=True)] * len(fits)
    if not isinstance(method, Entropy):
        raise UsageError(f"method: got {method.name}, of which fits predict nothing; want entropy or raw")
    unfitted = unfitted_coding(method.format)
    return [unfitted] * len(fits) if unfitted else plan_codings(fits, method, method.target_bits)[0]


def nmse(lost: F32, values: F32) -> float:
    """Return mean square of `lost` / mean square of `values`; 0 where nothing was lost."""
    error = float(np.square(lost, dtype=np.float64).sum())
    return error / float(np.square(values, dtype=np.float64).sum()) if error else 0.0
