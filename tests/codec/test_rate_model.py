import math
import time

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gradwire_common.codec.formats import Uniform
from gradwire_common.codec.model.fit import ALPHA_MIN, BETA_MAX, BETA_MIN, NOTHING, fit_gennorm
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.model.rates import (
    TABLE_BETA_MAX,
    TABLE_BITS_MAX,
    common_step,
    distortion,
    entropy_bits,
    ratio_for_bits,
)
from gradwire_common.codec.model.rates.integrals import distortion_integral, entropy_integral
from gradwire_common.codec.model.rates.table import rate_table
from gradwire_common.codec.model.step_sizes import STEP_MAX, STEP_MIN
from gradwire_common.errors import UsageError

BETAS = np.geomspace(BETA_MIN, BETA_MAX, 23)  # not the table's rows
BITS = np.geomspace(0.005, 10, 41)


def shapes(models: list[GenNorm]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([model.beta for model in models]), np.array([model.alpha for model in models])


def bits_at_step(models: list[GenNorm], step: float | np.ndarray) -> np.ndarray:
    beta, alpha = shapes(models)
    return entropy_bits(beta, step / alpha)


def distortion_at_step(models: list[GenNorm], step: float | np.ndarray) -> np.ndarray:
    beta, alpha = shapes(models)
    return distortion(beta, step / alpha) * alpha**2


def step_per_tensor(models: list[GenNorm], bits: float) -> np.ndarray:
    beta, alpha = shapes(models)
    return ratio_for_bits(beta, bits) * alpha


def empirical_bits(symbols: np.ndarray) -> float:
    counts = np.unique(symbols, return_counts=True)[1] / symbols.size
    return float(-(counts * np.log2(counts)).sum())


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("ratio", [0.05, 0.5, 2.0, 3.0])
def test_integrals_are_sums_over_all_cells(beta: float, ratio: float):
    model = GenNorm(beta, 1.0)
    probabilities = Uniform(ratio).cell_probabilities(model, 20_000)
    probabilities = probabilities[probabilities > 0]
    want = -(probabilities * np.log2(probabilities)).sum()
    assert Uniform(ratio).tail_probability(model, 20_000) < 1e-12
    assert entropy_integral(beta, ratio) == pytest.approx(want, rel=1e-4)

    fine = np.arange(0, 60, ratio / 400) + ratio / 800
    errors = (fine - ratio * np.rint(fine / ratio)) ** 2
    density = model.density(fine)
    seen = 2 * (errors * density).sum() * (ratio / 400)
    beyond = 2 * float(model.survival(60.0)) * ratio**2 / 12
    assert distortion_integral(beta, ratio) == pytest.approx(seen + beyond, rel=2e-3)


def test_the_entropy_of_laplace_data_has_the_closed_form():
    ratio = np.geomspace(0.01, 15, 50)
    stay = np.exp(-ratio)
    zero, first = 1 - np.exp(-ratio / 2), np.exp(-ratio / 2) * (1 - stay) / 2  # geometric from k = 1 on
    want = -zero * np.log2(zero) - 2 * first * (np.log2(first) / (1 - stay) + stay * np.log2(stay) / (1 - stay) ** 2)
    assert_allclose(entropy_integral(1.0, ratio), want, rtol=2e-5)
    assert_allclose(entropy_bits(1.0, ratio), want, rtol=1e-4)


def test_the_table_is_exact_to_half_a_percent_from_0_005_to_10_bits():
    beta, bits = np.meshgrid(BETAS, BITS)
    ratio = ratio_for_bits(beta, bits)
    assert_allclose(entropy_integral(beta, ratio), bits, rtol=5e-4)
    assert_allclose(entropy_bits(beta, ratio), bits, rtol=1e-6)
    assert_allclose(distortion(beta, ratio), distortion_integral(beta, ratio), rtol=5e-4)


@pytest.mark.parametrize("beta", BETAS[::4])
def test_bits_fall_and_distortion_grows_with_the_step(beta: float):
    ratio = np.geomspace(1e-8, 1e12, 4000)
    bits, error = entropy_bits(beta, ratio), distortion(beta, ratio)
    assert (np.diff(bits) <= 0).all()
    assert (np.diff(error) >= -1e-9 * error[:-1]).all()
    assert bits[-1] == 0
    assert error[-1] == pytest.approx(GenNorm(beta, 1).variance, rel=0.02)


@pytest.mark.parametrize("beta", BETAS[::4])
def test_fine_steps_follow_the_high_rate_limit_without_a_jump(beta: float):
    edge = float(ratio_for_bits(beta, TABLE_BITS_MAX))
    around = edge * np.array([1 - 1e-9, 1 + 1e-9])
    for curve in (entropy_bits, distortion):
        below, above = curve(beta, around)
        assert below == pytest.approx(above, rel=2e-4)
    assert entropy_bits(beta, edge / 1024) == pytest.approx(TABLE_BITS_MAX + 10, rel=1e-4)
    assert ratio_for_bits(beta, 16) == pytest.approx(edge / 16, rel=1e-3)


def test_no_step_and_infinite_steps_are_limits():
    assert entropy_bits(1.0, 0.0) == math.inf
    assert entropy_bits(1.0, math.inf) == 0.0
    assert distortion(1.0, 0.0) == 0.0
    assert distortion(1.0, math.inf) == pytest.approx(2, rel=0.01)


def test_shapes_broadcast_and_may_be_empty():
    assert entropy_bits(np.ones((3, 1)), np.ones(4)).shape == (3, 4)
    assert entropy_bits([], []).shape == (0,)
    assert ratio_for_bits([], 1.0).shape == (0,)


@pytest.mark.parametrize("beta", [0.1, TABLE_BETA_MAX * 1.01, math.nan])
def test_shapes_outside_the_table_are_refused(beta: float):
    with pytest.raises(UsageError, match="beta is"):
        entropy_bits(beta, 1.0)
    with pytest.raises(UsageError, match="beta is"):
        ratio_for_bits(beta, 1.0)


def test_the_table_is_computed_in_under_a_second():
    rate_table.cache_clear()
    start = time.process_time()
    rate_table()
    assert time.process_time() - start < 1


@pytest.mark.parametrize("beta", [0.4, 0.9, 1.3, 2.0])
@pytest.mark.parametrize("bits", [0.1, 0.5, 2.0, 6.0])
def test_bits_predicted_from_the_fit_are_those_achieved(beta: float, bits: float):
    values = GenNorm(beta, 3e-4).sample(np.random.default_rng(13), 1 << 18)
    model = fit_gennorm(values)
    quantizer = Uniform(common_step([model], [values.size], bits))
    symbols = quantizer.quantize(values)
    assert empirical_bits(symbols) == pytest.approx(bits, rel=0.03)
    error = np.mean((values - quantizer.dequantize(symbols)) ** 2, dtype=np.float64)
    if beta > 0.5:  # below, the sample's own mean square scatters more than this
        assert error == pytest.approx(float(distortion_at_step([model], quantizer.step)[0]), rel=0.05)


def many_tensors(seed: int, n: int = 200) -> tuple[list[GenNorm], list[int]]:
    rng = np.random.default_rng(seed)
    models = [GenNorm(*pair) for pair in zip(rng.uniform(0.25, 2.2, n), 10 ** rng.uniform(-7, -1, n), strict=True)]
    return models, rng.integers(1, 1_000_000, n).tolist()


@pytest.mark.parametrize("bits", [0.01, 0.03, 0.25, 1.0, 2.0, 8.0])
def test_one_step_spends_the_bits_over_all_tensors(bits: float):
    models, sizes = many_tensors(14)
    step = common_step(models, sizes, bits)
    got = np.average(bits_at_step(models, step), weights=sizes)
    assert got == pytest.approx(bits, rel=2e-3)


@pytest.mark.parametrize("bits", [0.01, 0.25, 2.0, 8.0])
def test_a_step_per_tensor_spends_the_bits_in_each(bits: float):
    models, _ = many_tensors(15)
    steps = step_per_tensor(models, bits)
    assert_allclose(bits_at_step(models, steps), bits, rtol=1e-5)


def test_one_step_for_all_distorts_less_than_one_each_at_the_same_bits():
    models, sizes = many_tensors(16)
    one = np.average(distortion_at_step(models, common_step(models, sizes, 1.0)), weights=sizes)
    each = np.average(distortion_at_step(models, step_per_tensor(models, 1.0)), weights=sizes)
    assert one < 0.5 * each


def test_scaling_all_tensors_scales_the_step():
    models, sizes = many_tensors(17)
    scaled = [GenNorm(model.beta, model.alpha * 1e6) for model in models]
    assert common_step(scaled, sizes, 2.0) == pytest.approx(1e6 * common_step(models, sizes, 2.0), rel=1e-4)


def test_zeros_cost_nothing_and_leave_their_bits_to_the_others():
    model = GenNorm(1.0, 1.0)
    step = common_step([model, NOTHING], [1000, 3000], 1.0)
    assert_allclose(bits_at_step([model, NOTHING], step), [4.0, 0.0], rtol=1e-4)


def test_what_zeros_leave_over_ends_where_the_table_does():
    model = GenNorm(1.0, 1.0)
    step = common_step([model, NOTHING], [1000, 10**9], 1.0)
    assert bits_at_step([model], step)[0] == pytest.approx(TABLE_BITS_MAX, rel=1e-4)


@pytest.mark.parametrize("models", [[], [NOTHING], [NOTHING] * 3, [GenNorm(BETA_MIN, ALPHA_MIN), NOTHING]])
def test_a_step_is_given_even_where_nothing_is_to_be_sent(models: list[GenNorm]):
    step = common_step(models, [10] * len(models), 2.0)
    assert STEP_MIN <= step <= STEP_MAX


def test_empty_tensors_do_not_count():
    model = GenNorm(1.0, 1.0)
    assert common_step([model, GenNorm(2.0, 1e9)], [5, 0], 2.0) == pytest.approx(common_step([model], [5], 2.0))


@pytest.mark.parametrize("alpha", [1e-44, 1e-30, 1e30, 5e38])
def test_every_scale_of_float32_has_a_step_that_a_quantiser_takes(alpha: float):
    model = GenNorm(0.7, alpha)
    for bits in (0.01, 2.0, 8.0):
        Uniform(common_step([model], [100], bits))


@pytest.mark.parametrize("bits", [0.0, -1.0, math.nan, math.inf])
def test_bits_that_cannot_be_met_are_refused(bits: float):
    with pytest.raises(UsageError, match="bits per entry are"):
        common_step([GenNorm(1, 1)], [1], bits)


def test_models_and_sizes_go_in_pairs():
    with pytest.raises(UsageError, match="1 models and 2 sizes"):
        common_step([GenNorm(1, 1)], [1, 2], 2.0)


def test_the_same_tensors_give_the_same_step():
    models, sizes = many_tensors(18)
    assert_array_equal(common_step(models, sizes, 0.5), common_step(models, sizes, 0.5))
