"""The fewest bits at which any code of independent entries reaches an error: the rate-distortion bound.

Source: Blahut, "Computation of channel capacity and rate-distortion functions", IEEE Trans. Inf. Theory 18(4), 1972.
Tensors share the slope of their curves, which is the best division of bits between them.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.model.fit import fit_gennorm
from gradwire_common.codec.model.gennorm import GenNorm

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Point = tuple[float, float]

MAGNITUDES = 120  # points a side: cells 8 % wide, whose own error is below 0.001 of the variance
TAIL = 1e-7  # mass beyond the last point
ITERATIONS = 150
SLOPES = np.geomspace(0.1, 60, 14)  # in nats by mean squares
LEAST_NMSE = 0.004  # what the cells can tell


def rate_distortion(model: GenNorm, slope: float) -> Point:
    """Return bits an entry and NMSE of the point of a model's curve with this slope, in nats by its variance.

    Without a gain from any bit the point is (0, 1).
    """
    edges, mass = _cells(model)
    places = edges / np.sqrt(np.sum(mass * edges**2))
    squares = (places[:, None] - places) ** 2
    kernel = np.exp(-slope * squares)
    used = mass.copy()
    for _ in range(ITERATIONS):
        used *= kernel.T @ (mass / np.maximum(kernel @ used, 1e-300))
    sums = np.maximum(kernel @ used, 1e-300)
    error = float(mass / sums @ ((kernel * squares) @ used))
    nats = -slope * error - float(mass @ np.log(sums))
    return max(nats, 0.0) / math.log(2), error


def gennorm_bound(tensors: Sequence[F32]) -> list[Point]:
    """Return (bits an entry, NMSE) of independent entries of the GenNorm that is fitted to each tensor.

    Args:
        tensors: one-dimensional float32, not all zero.
    """
    some = [tensor for tensor in tensors if tensor.any()]
    models = [fit_gennorm(tensor) for tensor in some]
    power = np.array([float(np.square(tensor, dtype=float).sum()) for tensor in some])
    size = np.array([tensor.size for tensor in some])
    entries = sum(tensor.size for tensor in tensors)
    mean = power.sum() / entries
    points = []
    for slope in SLOPES:
        pairs = [rate_distortion(model, slope * each / mean) for model, each in zip(models, power / size, strict=True)]
        bits, nmse = np.array(pairs).T
        points.append((float(bits @ size / entries), float(nmse @ power / power.sum())))
    return [point for point in points if point[1] >= LEAST_NMSE]


def normal_bound(bits: float) -> float:
    """Return the NMSE of normal entries at `bits` an entry: 2**(-2 bits)."""
    return float(2.0 ** (-2 * bits))


def _cells(model: GenNorm) -> tuple[F64, F64]:
    """Return the centres of cells on both sides of zero, and their mass."""
    far = float(model.quantile(1 - TAIL))
    edges = np.concatenate([[0.0], far * np.geomspace(1e-4, 1, MAGNITUDES)])
    mass = np.diff(model.inside(edges)) / 2
    centres = np.diff(model.moment_inside(1, edges)) / 2 / np.maximum(mass, 1e-300)
    mass = mass / mass.sum() / 2
    return np.concatenate([-centres[::-1], centres]), np.concatenate([mass[::-1], mass])
