"""What one update loses and takes: normalised squared error, and the bytes of its frames."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradwire_common.layout.manifest import Layout, TensorSpec
from gradwire_common.methods.method import EncodeReport
from gradwire_common.methods.registry import build_method
from gradwire_common.methods.update import decode_update
from gradwire_study.distortion.bound import Point
from gradwire_study.distortion.methods import RATES
from gradwire_study.gradients import Gradient


def distortion(gradient: Gradient, name: str, options: Mapping[str, Any]) -> Point:
    """Return bits an entry, all bytes of all frames counted, and |g - decoded|^2 / |g|^2, of one update.

    Args:
        gradient: tensors by name, float32.
        name: of the method.
        options: its own.
    """
    method = build_method(name, options)
    layout = Layout([TensorSpec(each, tensor.shape) for each, tensor in gradient.items()])
    values = np.empty(layout.n_parameters, np.float32)
    for each, tensor in gradient.items():
        values[layout.slots[each]] = tensor.reshape(-1)
    encoder, u = method.encoder(layout), values.copy()
    encoder.prepare(u)
    data = b"".join(encoder.encode(u, EncodeReport()))
    decoded = np.zeros_like(values)
    decode_update(data, layout.parameters, decoded, method)
    method.invert(decoded, layout)
    lost = np.square(values - decoded, dtype=float).sum()
    return 8 * len(data) / values.size, float(lost / np.square(values, dtype=float).sum())


def measure_all(gradient: Gradient, report: Callable[[str], None]) -> dict[str, list[Point]]:
    """Return (bits, NMSE) of every method at its rates; `report` is told each method's name before it is run."""
    found = {}
    for label, (name, rates) in RATES.items():
        report(label)
        found[label] = sorted(distortion(gradient, name, options) for options in rates)
    return found
