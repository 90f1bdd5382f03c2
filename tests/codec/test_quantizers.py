import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal
from scipy import integrate

from gradwire_common.codec.formats import (
    FLOAT4_1_2_1,
    FLOAT8_1_4_3,
    FLOAT8_1_5_2,
    MINIFLOATS,
    BFloat16,
    Float32,
    Minifloat,
    MinifloatFormat,
    Uniform,
    all_formats,
    build_quantizer,
)
from gradwire_common.codec.formats.grid_scale import grid_distortion, optimal_scale
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.model.step_sizes import K_MAX, STEP_MAX, STEP_MIN
from gradwire_common.errors import UsageError

F32_MAX = np.float32(np.finfo(np.float32).max)
MODEL = GenNorm(1.2, 0.01)
HARD = np.array(
    [0, -0.0, 1e-45, -1e-45, 1e-38, 1e-30, -1e-3, 0.02, 1, -1.5, 1e10, -1e38, F32_MAX, -F32_MAX], np.float32
)
arrays = hnp.arrays(
    np.float32, st.integers(0, 200), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)
)
formats = pytest.mark.parametrize("form", MINIFLOATS, ids=lambda form: form.name)
names = pytest.mark.parametrize("name", [form.name for form in all_formats()])


@names
def test_levels_are_finite_and_survive_a_second_time_around(name: str):
    quantizer = build_quantizer(name, MODEL, step=0.003)
    levels = quantizer.dequantize(quantizer.quantize(HARD))
    assert levels.dtype == np.float32
    assert np.isfinite(levels).all()
    assert_array_equal(quantizer.dequantize(quantizer.quantize(levels)), levels)


@names
def test_quantisers_are_values(name: str):
    one, other = build_quantizer(name, MODEL, step=0.003), build_quantizer(name, MODEL, step=0.003)
    assert one == other
    assert hash(one) == hash(other)
    assert one.format.name == name


@names
def test_symbols_keep_the_shape(name: str):
    quantizer = build_quantizer(name, MODEL, step=0.003)
    for shape in [(), (0,), (1,), (2, 3, 4)]:
        x = np.ones(shape, np.float32)
        assert quantizer.dequantize(quantizer.quantize(x)).shape == shape


@pytest.mark.parametrize("name", ["uniform", "float8-1-5-2", "float8-1-4-3", "float4-1-2-1", "bfloat16"])
@given(x=arrays)
def test_quantising_is_odd_and_monotone(name: str, x: np.ndarray):
    quantizer = build_quantizer(name, MODEL, step=0.003)
    levels = quantizer.dequantize(quantizer.quantize(x))
    assert_array_equal(quantizer.dequantize(quantizer.quantize(-x)), -levels)
    order = np.argsort(x)
    assert (np.diff(levels[order].astype(np.float64)) >= 0).all()


@given(x=arrays)
def test_float32_loses_no_bit(x: np.ndarray):
    got = Float32().dequantize(Float32().quantize(x))
    assert_array_equal(got.view(np.uint32), x.view(np.uint32))


@given(x=arrays)
def test_bfloat16_rounds_as_torch_does_below_overflow(x: np.ndarray):
    want = torch.from_numpy(x).to(torch.bfloat16).to(torch.float32).numpy()
    got = BFloat16().dequantize(BFloat16().quantize(x))
    assert_array_equal(got[np.isfinite(want)], want[np.isfinite(want)])
    assert (np.abs(got[np.isinf(want)]) == np.float32(3.3895314e38)).all()


@pytest.mark.parametrize(
    ("form", "n_levels", "least", "largest", "gap_at_1"),
    [
        (FLOAT8_1_5_2, 247, 2.0**-16, 57344, 0.25),
        (FLOAT8_1_4_3, 239, 2.0**-12, 30, 0.125),
        (FLOAT4_1_2_1, 11, 0.5, 3, 0.5),
    ],
)
def test_formats_have_the_published_levels(
    form: MinifloatFormat, n_levels: int, least: float, largest: float, gap_at_1: float
):
    levels = Minifloat(form, 1.0).levels
    assert len(levels) == n_levels
    assert_array_equal(levels, -levels[::-1])
    assert levels.dtype == np.float32
    positive = levels[levels > 0]
    assert (positive[0], positive[-1]) == (least, largest)
    assert positive[np.searchsorted(positive, 1) + 1] - 1 == gap_at_1


def test_float4_has_exactly_these_levels():
    assert_array_equal(Minifloat(FLOAT4_1_2_1, 1.0).levels, [-3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3])


@formats
@given(x=arrays, scale=st.floats(1e-3, 1e3))
def test_a_symbol_is_the_nearest_level(form: MinifloatFormat, x: np.ndarray, scale: float):
    quantizer = Minifloat(form, scale)
    with np.errstate(over="ignore"):
        scaled = np.clip(x * np.float32(scale), -F32_MAX, F32_MAX).astype(np.float64)
    grid = Minifloat(form, 1.0).levels.astype(np.float64)
    got = np.abs(grid[quantizer.quantize(x)] - scaled)
    assert_array_equal(got, np.abs(grid - scaled[:, None]).min(axis=1, initial=np.inf))


@pytest.mark.parametrize(("form", "dtype"), [(FLOAT8_1_5_2, torch.float8_e5m2)])
def test_float8_rounds_ties_as_torch_does(form: MinifloatFormat, dtype: torch.dtype):
    middles = form.borders.astype(np.float32)
    x = np.concatenate([middles, np.nextafter(middles, 0), np.nextafter(middles, F32_MAX), -middles])
    got = Minifloat(form, 1.0).dequantize(Minifloat(form, 1.0).quantize(x))
    assert_array_equal(got, torch.from_numpy(x).to(dtype).to(torch.float32).numpy())


@formats
def test_thresholds_lie_between_levels_and_ties_go_to_the_even_index(form: MinifloatFormat):
    quantizer = Minifloat(form, 0.5)
    assert_allclose(quantizer.thresholds, (quantizer.levels[:-1] + quantizer.levels[1:]) / 2, rtol=1e-7)
    index = np.abs(quantizer.quantize(quantizer.thresholds.astype(np.float32)).astype(int) - form.n_positive)
    assert_array_equal(index % 2, 0)


@formats
@pytest.mark.parametrize("beta", [0.3, 1.0, 2.0])
def test_cell_probabilities_are_integrals_of_the_density(form: MinifloatFormat, beta: float):
    model = GenNorm(beta, 0.02)
    quantizer = build_quantizer(form.name, model)
    assert isinstance(quantizer, Minifloat)
    got = quantizer.cell_probabilities(model)
    assert got.shape == quantizer.levels.shape
    assert got.sum() == pytest.approx(1, abs=1e-12)
    want = np.diff(np.concatenate([[0.0], model.cdf(quantizer.thresholds), [1.0]]))
    assert_allclose(got, want, atol=1e-14)
    assert (got >= 0).all()
    assert_array_equal(got, got[::-1])


@pytest.mark.parametrize(
    ("beta", "scale", "nmse"),
    [  # computed independently for alpha 1, float4 1-2-1
        (0.3, 0.000893, 0.1436),
        (0.4, 0.01235, 0.1055),
        (0.5, 0.0527, 0.0816),
        (0.7, 0.2386, 0.0547),
        (1.0, 0.6515, 0.0364),
        (1.5, 1.292, 0.0246),
        (2.0, 1.751, 0.0199),
    ],
)
def test_the_optimal_scale_of_float4_is_the_known_one(beta: float, scale: float, nmse: float):
    got = optimal_scale(FLOAT4_1_2_1, beta)
    assert got == pytest.approx(scale, rel=2e-3)
    assert grid_distortion(FLOAT4_1_2_1, beta, got) / GenNorm(beta, 1).variance == pytest.approx(nmse, abs=6e-5)


@pytest.mark.parametrize("beta", [0.2, 0.5, 1.0, 2.0, 4.0])
def test_float8_1_5_2_has_the_known_distortion_and_no_scale_beats_the_optimal_one(beta: float):
    sigma = math.sqrt(GenNorm(beta, 1).variance)
    for form in MINIFLOATS:
        best = float(grid_distortion(form, beta, optimal_scale(form, beta)))
        others = grid_distortion(form, beta, np.geomspace(1e-3, 1e4, 3000) / sigma)
        assert best <= others.min() * (1 + 1e-6)
    assert 0.00267 < grid_distortion(FLOAT8_1_5_2, beta, optimal_scale(FLOAT8_1_5_2, beta)) / sigma**2 < 0.0028


@formats
def test_predicted_distortion_is_what_quantising_costs(form: MinifloatFormat):
    for beta in (0.5, 1.0, 2.0):
        model = GenNorm(beta, 0.1)
        x = model.sample(np.random.default_rng(11), 400_000)
        quantizer = build_quantizer(form.name, model)
        got = np.mean((x - quantizer.dequantize(quantizer.quantize(x))) ** 2, dtype=np.float64)
        assert got == pytest.approx(float(grid_distortion(form, beta, quantizer.scale * 0.1)) * 0.01, rel=0.05)


@pytest.mark.parametrize("alpha", [2.0**-149, 1e-40, 1e-20, 1e20, 1e38, 5e38])
@formats
def test_every_scale_of_a_float32_tensor_is_met(form: MinifloatFormat, alpha: float):
    model = GenNorm(1.0, alpha)
    quantizer = build_quantizer(form.name, model)
    assert isinstance(quantizer, Minifloat)
    assert np.isfinite(quantizer.levels).all()
    levels = quantizer.dequantize(quantizer.quantize(HARD))
    assert np.isfinite(HARD - levels).all()


@formats
def test_scales_that_lose_the_outermost_level_are_refused(form: MinifloatFormat):
    low, high = form.parameter.low, form.parameter.high
    assert np.isfinite(Minifloat(form, low).levels).all()
    for scale in (low / 2, high * 2, -1.0, 0.0, math.nan, math.inf):
        with pytest.raises(UsageError, match=f"{form.name} scale is"):
            Minifloat(form, scale)


def test_uniform_rounds_half_to_even_in_float32():
    x = np.array([0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999997, 3.2], np.float32)
    assert_array_equal(Uniform(1.0).quantize(x), [0, 0, 2, 2, 0, -2, -2, 0, 3])
    assert_array_equal(Uniform(0.25).quantize(x / 4), [0, 0, 2, 2, 0, -2, -2, 0, 3])


@given(x=arrays, step=st.floats(STEP_MIN, STEP_MAX))
def test_uniform_is_one_product_and_one_rounding(x: np.ndarray, step: float):
    quantizer = Uniform(step)
    symbols = quantizer.quantize(x)
    with np.errstate(over="ignore"):
        steps = x * (np.float32(1) / np.float32(step))
    near = np.abs(steps) <= quantizer.k_max
    assert_array_equal(symbols[near], np.rint(steps[near]))
    assert_array_equal(symbols[~near], quantizer.k_max * np.sign(steps[~near]))
    levels = quantizer.dequantize(symbols)
    assert np.isfinite(levels).all()
    assert_array_equal(levels, symbols.astype(np.float32) * np.float32(step))


def test_uniform_leaves_at_most_half_a_step():
    x = GenNorm(0.8, 1.0).sample(np.random.default_rng(12), 100_000)
    for step in (1e-3, 0.1, 7.0):
        residual = x - Uniform(step).dequantize(Uniform(step).quantize(x))
        assert (np.abs(residual) <= step / 2 + np.abs(x) * 2.0**-22).all()


def test_uniform_saturates_at_k_max_or_where_float32_ends():
    assert Uniform(1.0).quantize(np.array([3e6, -F32_MAX], np.float32)).tolist() == [K_MAX, -K_MAX]
    assert Uniform(STEP_MAX).k_max == 3
    assert Uniform(STEP_MIN).k_max == K_MAX
    assert np.isfinite(Uniform(STEP_MAX).dequantize(np.array([3, -3]))).all()


@pytest.mark.parametrize("step", [0.0, -1.0, math.nan, math.inf, STEP_MIN / 2, STEP_MAX * 2])
def test_step_sizes_out_of_range_are_refused(step: float):
    with pytest.raises(UsageError, match="step size is"):
        Uniform(step)


@pytest.mark.parametrize("beta", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("step", [1e-3, 0.5, 8.0])
def test_uniform_cell_probabilities_are_integrals_of_the_density(beta: float, step: float):
    model, quantizer = GenNorm(beta, 1.0), Uniform(step)
    got = quantizer.cell_probabilities(model, 20)
    assert got.shape == (41,)
    assert got.sum() + quantizer.tail_probability(model, 20) == pytest.approx(1, abs=1e-12)
    for k in (1, 7, 20):
        low, high = (k - 0.5) * quantizer.step, (k + 0.5) * quantizer.step
        want, _ = integrate.quad(lambda x: float(model.density(x)), low, high, epsabs=0, epsrel=1e-11)
        assert got[20 + k] == pytest.approx(want, rel=1e-8)
        assert got[20 - k] == got[20 + k]


def test_uniform_cell_probabilities_reach_the_model_alone_by_step_over_alpha():
    got = Uniform(0.5).cell_probabilities(GenNorm(0.9, 0.25), 9)
    assert_array_equal(got, Uniform(2.0).cell_probabilities(GenNorm(0.9, 1.0), 9))


def test_a_name_that_is_no_quantiser_is_refused_with_the_names_that_are():
    with pytest.raises(UsageError, match="'int8', want one of uniform, float8-1-5-2, float8-1-4-3"):
        build_quantizer("int8")


def test_missing_models_and_steps_are_named():
    with pytest.raises(UsageError, match="needs a fitted model"):
        build_quantizer("float4-1-2-1")
    with pytest.raises(UsageError, match="needs a step size"):
        build_quantizer("uniform", MODEL)


def test_step_sizes_of_a_plan_are_clipped_to_what_float32_allows():
    assert build_quantizer("uniform", step=1e-300) == Uniform(STEP_MIN)
    assert build_quantizer("uniform", step=1e300) == Uniform(STEP_MAX)
