import math

import numpy as np
import pytest

from gradwire_common.codec.fit import NOTHING, fit_gennorm
from gradwire_common.codec.gennorm import GenNorm
from gradwire_common.codec.quantizers import STEP_MAX, STEP_MIN, Uniform
from gradwire_common.codec.rate_model import common_step, entropy_bits, measured, measured_bits, spending_step
from gradwire_common.errors import UsageError

F32 = np.ndarray


def empirical_bits(tensors: list[F32], step: float) -> float:
    total = 0.0
    for tensor in tensors:
        counts = np.unique(Uniform(step).quantize(tensor), return_counts=True)[1] / tensor.size
        total -= tensor.size * float((counts * np.log2(counts)).sum())
    return total / sum(tensor.size for tensor in tensors)


def tensors_of_many_scales(n: int = 30_000) -> list[F32]:
    rng = np.random.default_rng(20)
    return [GenNorm(beta, alpha).sample(rng, n) for beta, alpha in [(0.6, 1e-3), (1.0, 1e-2), (1.4, 3e-2), (2.0, 1e-4)]]


@pytest.mark.parametrize("step", [0.3, 0.1, 0.03, 0.01])
def test_measured_bits_are_the_empirical_entropy(step: float):
    tensors = tensors_of_many_scales()
    assert measured_bits(tensors, step) == pytest.approx(empirical_bits(tensors, step), rel=5e-3)


def test_a_geometric_tail_stands_for_the_cells_that_are_not_counted():
    laplace = GenNorm(1.0, 1.0).sample(np.random.default_rng(21), 1 << 20)
    assert measured_bits([laplace], 0.2) == pytest.approx(float(entropy_bits(1.0, 0.2)), rel=5e-3)


def test_counting_a_part_is_nearly_counting_all(monkeypatch: pytest.MonkeyPatch):
    tensors = tensors_of_many_scales(200_000)
    whole = measured_bits(tensors, 0.05)
    monkeypatch.setattr(measured, "N_COUNTED", 200_000)
    assert measured_bits(tensors, 0.05) == pytest.approx(whole, rel=0.03)


@pytest.mark.parametrize("bits", [0.01, 0.03, 0.1, 0.5, 1.0, 2.0])
def test_the_spending_step_costs_the_bits(bits: float):
    tensors = tensors_of_many_scales()
    models = [fit_gennorm(tensor) for tensor in tensors]
    for guess in (None, 1e-3, 10.0):
        step = spending_step(tensors, models, bits, guess)
        assert empirical_bits(tensors, step) == pytest.approx(bits, rel=0.015)


@pytest.mark.parametrize("bits", [0.03, 0.1, 0.25])
def test_with_a_residual_memory_counts_hold_the_bits_that_the_fit_alone_misses(bits: float):
    rng, residual, step = np.random.default_rng(22), np.zeros(1 << 16, np.float32), None
    for _ in range(30):
        u = GenNorm(1.2, 0.01).sample(rng, residual.size) + residual
        model = fit_gennorm(u)
        step = spending_step([u], [model], bits, step)
        quantizer = Uniform(step)
        residual = u - quantizer.dequantize(quantizer.quantize(u))
    assert empirical_bits([u], step) == pytest.approx(bits, rel=0.02)
    alone = empirical_bits([u], common_step([model], [u.size], bits))
    assert abs(alone / bits - 1) > 0.1


def test_at_high_rates_the_fit_is_the_answer():
    tensors = tensors_of_many_scales()
    models = [fit_gennorm(tensor) for tensor in tensors]
    assert spending_step(tensors, models, 4.0) == common_step(models, [tensor.size for tensor in tensors], 4.0)


@pytest.mark.parametrize("tensors", [[], [np.zeros(100)], [np.zeros(0)], [np.ones(1)], [np.full(50, 1e-45)]])
def test_a_step_is_given_even_where_no_step_costs_the_bits(tensors: list[F32]):
    tensors = [tensor.astype(np.float32) for tensor in tensors]
    step = spending_step(tensors, [fit_gennorm(tensor) for tensor in tensors], 0.5)
    assert STEP_MIN <= step <= STEP_MAX
    assert math.isfinite(measured_bits(tensors, step))


@pytest.mark.parametrize("scale", [1e-36, 1e36])
def test_extreme_tensors_are_counted_without_overflow(scale: float):
    values = GenNorm(1.0, 1.0).sample(np.random.default_rng(23), 20_000) * np.float32(scale)
    step = spending_step([values], [fit_gennorm(values)], 0.3)
    assert empirical_bits([values], step) == pytest.approx(0.3, rel=0.02)


def test_bits_and_pairs_are_checked():
    with pytest.raises(UsageError, match="bits per entry"):
        spending_step([np.ones(1, np.float32)], [NOTHING], 0.0)
    with pytest.raises(UsageError, match="1 models and 0 sizes"):
        spending_step([], [NOTHING], 1.0)
