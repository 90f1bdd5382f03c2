import math

import numpy as np
import pytest

from gradwire_common.codec.formats import Uniform
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.model.rates import (
    SampledRate,
    common_step,
    entropy_bits,
    measured,
    measured_bits,
    plan_spending,
)
from gradwire_common.codec.model.step_sizes import STEP_MAX, STEP_MIN
from gradwire_common.codec.model.tensor_fit import TensorFit, fit_tensor
from gradwire_common.errors import UsageError

F32 = np.ndarray


def empirical_bits(tensors: list[F32], step: float) -> float:
    total = 0.0
    for tensor in tensors:
        counts = np.unique(Uniform(step).quantize(tensor), return_counts=True)[1] / tensor.size
        total -= tensor.size * float((counts * np.log2(counts)).sum())
    return total / sum(tensor.size for tensor in tensors)


def fits_of(tensors: list[F32]) -> list[TensorFit]:
    return [fit_tensor(tensor) for tensor in tensors]


def tensors_of_many_scales(n: int = 30_000) -> list[F32]:
    rng = np.random.default_rng(20)
    return [GenNorm(beta, alpha).sample(rng, n) for beta, alpha in [(0.6, 1e-3), (1.0, 1e-2), (1.4, 3e-2), (2.0, 1e-4)]]


@pytest.mark.parametrize("step", [0.3, 0.1, 0.03, 0.01])
def test_measured_bits_are_the_empirical_entropy(step: float):
    tensors = tensors_of_many_scales()
    assert measured_bits(fits_of(tensors), step) == pytest.approx(empirical_bits(tensors, step), rel=5e-3)


def test_a_geometric_tail_stands_for_the_cells_that_are_not_counted():
    laplace = GenNorm(1.0, 1.0).sample(np.random.default_rng(21), 1 << 20)
    assert measured_bits(fits_of([laplace]), 0.2) == pytest.approx(float(entropy_bits(1.0, 0.2)), rel=5e-3)


def test_counting_a_part_is_nearly_counting_all(monkeypatch: pytest.MonkeyPatch):
    tensors = tensors_of_many_scales(200_000)
    whole = measured_bits(fits_of(tensors), 0.05)
    monkeypatch.setattr(measured, "N_COUNTED", 200_000)
    assert measured_bits(fits_of(tensors), 0.05) == pytest.approx(whole, rel=0.03)


@pytest.mark.parametrize("step", [3e-3, 1e-3, 3e-4])
def test_at_high_rates_a_sample_tells_the_empirical_entropy(step: float):
    tensors = tensors_of_many_scales()
    assert SampledRate(fits_of(tensors)).bits(step) == pytest.approx(empirical_bits(tensors, step), rel=0.03)


@pytest.mark.parametrize("zeros", [0, 7, 900])
def test_zeros_cost_what_their_places_tell(zeros: int):
    rng = np.random.default_rng(24)
    values = np.zeros(1000 * (zeros + 1), np.float32)
    values[:: zeros + 1] = rng.standard_normal(1000)
    assert measured_bits(fits_of([values]), 0.2) == pytest.approx(empirical_bits([values], 0.2), rel=0.02)


def test_an_atom_far_from_zero_costs_its_distance_though_it_has_no_entropy():
    near, far = (measured_bits(fits_of([np.ones(5000, np.float32)]), step) for step in (1.0, 1 / 1000))
    assert near == pytest.approx(1.0)
    assert far > 10


@pytest.mark.parametrize("bits", [0.01, 0.03, 0.1, 0.5, 1.0, 2.0])
def test_the_plan_costs_the_bits(bits: float):
    tensors = tensors_of_many_scales()
    for guess in (None, 1e-3, 10.0):
        plan = plan_spending(fits_of(tensors), bits, guess)
        assert plan.thinning is None
        assert empirical_bits(tensors, plan.step) == pytest.approx(bits, rel=0.015)


@pytest.mark.parametrize("bits", [0.03, 0.1, 0.25])
def test_with_a_residual_memory_counts_hold_the_bits_that_the_fit_alone_misses(bits: float):
    rng, residual, step = np.random.default_rng(22), np.zeros(1 << 16, np.float32), None
    for _ in range(30):
        u = GenNorm(1.2, 0.01).sample(rng, residual.size) + residual
        fit = fit_tensor(u)
        plan = plan_spending([fit], bits, step)
        assert plan.thinning is None
        step, quantizer = plan.step, Uniform(plan.step)
        residual = u - quantizer.dequantize(quantizer.quantize(u))
    assert empirical_bits([u], step) == pytest.approx(bits, rel=0.02)
    alone = empirical_bits([u], common_step([fit.model], [u.size], bits))
    assert abs(alone / bits - 1) > 0.1


def test_at_high_rates_the_fit_is_the_answer():
    tensors = tensors_of_many_scales()
    fits = fits_of(tensors)
    want = common_step([fit.model for fit in fits], [tensor.size for tensor in tensors], 4.0)
    assert plan_spending(fits, 4.0).step == want


@pytest.mark.parametrize("tensors", [[], [np.zeros(100)], [np.zeros(0)], [np.ones(1)], [np.full(50, 1e-45)]])
@pytest.mark.parametrize("bits", [0.01, 0.5, 8.0])
def test_a_step_is_given_even_where_no_step_costs_the_bits(tensors: list[F32], bits: float):
    fits = fits_of([tensor.astype(np.float32) for tensor in tensors])
    step = plan_spending(fits, bits).step
    assert STEP_MIN <= step <= STEP_MAX
    assert math.isfinite(measured_bits(fits, step))


@pytest.mark.parametrize("scale", [1e-36, 1e36])
def test_extreme_tensors_are_counted_without_overflow(scale: float):
    values = GenNorm(1.0, 1.0).sample(np.random.default_rng(23), 20_000) * np.float32(scale)
    step = plan_spending(fits_of([values]), 0.3).step
    assert empirical_bits([values], step) == pytest.approx(0.3, rel=0.02)


@pytest.mark.parametrize("bits", [0.0, -1.0, math.nan, math.inf])
def test_bits_are_checked(bits: float):
    with pytest.raises(UsageError, match="bits per entry"):
        plan_spending(fits_of([np.ones(1, np.float32)]), bits)
