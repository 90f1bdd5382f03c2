"""What is coded: the three grids at three shapes, and recorded gradients."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.codebook import grid_indices
from gradwire_common.codec.formats import Minifloat, Quantizer, build_quantizer
from gradwire_common.codec.model.fit import fit_gennorm
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.model.rates import ratio_for_bits
from gradwire_common.codec.words.choice import choose_scheme
from gradwire_common.codec.words.scheme import WordScheme

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]

BETAS = (0.5, 1.0, 1.5)
GRIDS = {"W1": "float4-1-2-1", "W2": "float8-1-5-2", "W3": "uniform"}
W3_STEP = 0.5  # standard deviations
W3_LAST = 15  # symbols each side; entries beyond it are clipped, so that a symbol is a byte for every coder
PART_MIN = 4096  # entries; smaller tensors travel in bundles


@dataclass(frozen=True, slots=True)
class Part:
    """One tensor and the symbols that it becomes.

    Attributes:
        values: (n,) float32.
        quantizer: gives the symbols of `values`.
        model: the fit of `values`.
        scheme, segment: how gradwire codes them.
        symbols: (n,) the same symbols as bytes, in the order in which gradwire splits them in buckets and raw bits.
    """

    values: F32
    quantizer: Quantizer
    model: GenNorm
    scheme: WordScheme
    segment: int
    symbols: U8


@dataclass(frozen=True, slots=True)
class Workload:
    """Tensors that are coded one after the other, each with a code of its own.

    Attributes:
        name: for the table.
        parts: the tensors.
        n_entries: of all parts.
        entropy: mean bits an entry of the parts' empirical zeroth-order entropies.
    """

    name: str
    parts: tuple[Part, ...]
    n_entries: int
    entropy: float


def entropy_bits(symbols: npt.NDArray[np.integer]) -> float:
    """Return the empirical zeroth-order entropy of `symbols`, bits a symbol."""
    counts = np.bincount(symbols - symbols.min())
    shares = counts[counts > 0] / symbols.size
    return max(0.0, float(-(shares * np.log2(shares)).sum()))


def samples(beta: float, n: int, seed: int = 1) -> F32:
    """Return `n` samples of the GenNorm of shape `beta` and unit variance."""
    model = GenNorm(beta, 1.0)
    return (model.sample(np.random.default_rng(seed), n) / model.variance**0.5).astype(np.float32)


def build_part(grid: str, values: F32) -> Part:
    """Quantise `values` by W1, W2 or W3, from their fit."""
    model = fit_gennorm(values)
    step = W3_STEP * model.variance**0.5
    if grid == "W3":
        edge = np.float32(W3_LAST * step)
        values = np.clip(values, -edge, edge)
    return _part_of(values, model, build_quantizer(GRIDS[grid], model, step))


def _part_of(values: F32, model: GenNorm, quantizer: Quantizer) -> Part:
    scheme, segment = choose_scheme(quantizer.format, *grid_indices(model, quantizer.unit))
    signed = quantizer.quantize(values).astype(np.int32)
    if isinstance(quantizer, Minifloat):
        signed -= quantizer.format.n_positive
    signs = signed < 0 if scheme.raw_bits else -(signed > 0).astype(np.int32)
    return Part(values, quantizer, model, scheme, segment, (2 * np.abs(signed) + signs).astype(np.uint8))


def build_workload(name: str, parts: list[Part]) -> Workload:
    """Count the entries and the entropy of `parts`."""
    n = sum(part.values.size for part in parts)
    bits = sum(part.values.size * entropy_bits(part.symbols.astype(np.int64)) for part in parts)
    return Workload(name, tuple(parts), n, bits / n)


def sampled_workloads(n: int) -> Iterator[Workload]:
    """Yield the nine, one at a time, of one tensor of `n` entries each."""
    for beta in BETAS:
        values = samples(beta, n)
        for grid in GRIDS:
            yield build_workload(f"{grid} beta {beta:g}", [build_part(grid, values)])


def uniform_workload(beta: float, bits: float, n: int) -> Workload:
    """Return `n` entries of one tensor, quantised uniformly to so many bits an entry."""
    values = samples(beta, n)
    model = fit_gennorm(values)
    quantizer = build_quantizer("uniform", model, ratio_for_bits(model.beta, bits) * model.alpha)
    return build_workload(f"{bits:g} bits, {beta:g}", [_part_of(values, model, quantizer)])


def recorded_workloads(path: Path) -> Iterator[Workload]:
    """Yield the gradients that gradients.py recorded at `path`, tensor by tensor, by every grid."""
    with np.load(path) as recorded:
        tensors = [recorded[name].ravel() for name in recorded.files]
    tensors = [tensor for tensor in tensors if tensor.size >= PART_MIN]
    for grid in GRIDS:
        yield build_workload(f"{grid} gradients", [build_part(grid, tensor) for tensor in tensors])
