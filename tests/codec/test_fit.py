import math

import numpy as np
import pytest
from scipy import special, stats
from sklearn.datasets import load_digits

from gradwire_common.codec.model import fit
from gradwire_common.codec.model.fit import ALPHA_MIN, BETA_MAX, BETA_MIN, N_SAMPLE, NOTHING, fit_gennorm
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.errors import NonFiniteError, UsageError

F32_MAX = float(np.finfo(np.float32).max)


def log_likelihood(model: GenNorm, values: np.ndarray) -> float:
    return float(model.log_density(values).mean())


@pytest.mark.parametrize("beta", [0.25, 0.5, 1.0, 1.5, 2.0, 3.5])
@pytest.mark.parametrize("alpha", [1e-9, 1.0, 1e9])
def test_the_fit_is_as_likely_as_scipys(beta: float, alpha: float):
    values = GenNorm(beta, alpha).sample(np.random.default_rng(1), 8000)
    got = fit_gennorm(values)
    scaled = values.astype(np.float64) / alpha
    shape, _, scale = stats.gennorm.fit(scaled, floc=0)
    assert log_likelihood(got, values) >= log_likelihood(GenNorm(shape, scale * alpha), values) - 1e-6
    assert got.beta == pytest.approx(shape, rel=2e-3)
    assert got.alpha == pytest.approx(scale * alpha, rel=1e-2)


def standard_error(beta: float, n: int) -> float:
    """Of log(beta) at the maximum of the likelihood of n entries, from the Fisher information."""
    return math.sqrt(beta / ((1 + 1 / beta) * float(special.zeta(2, 1 + 1 / beta)) - 1) / n)


@pytest.mark.parametrize("beta", [0.25, 0.5, 1.0, 1.5, 2.0, 3.5])
@pytest.mark.parametrize("n", [N_SAMPLE, 20_000, 1 << 20])
def test_the_fit_is_within_the_sampling_error_of_the_truth(beta: float, n: int):
    model = GenNorm(beta, 1e-3)
    values = model.sample(np.random.default_rng(2), n)
    got = fit_gennorm(values)
    assert abs(math.log(got.beta / beta)) < 3 * standard_error(beta, n) + standard_error(beta, N_SAMPLE) / 3
    excess = (log_likelihood(model, values) - log_likelihood(got, values)) / math.log(2)
    assert excess < 1e-4  # bits an entry that the sample costs


@pytest.mark.parametrize("beta", [0.4, 1.0, 1.8])
def test_statistics_of_all_entries_take_most_of_the_samples_error_away(beta: float, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fit, "N_MOMENTS", 1 << 19)
    errors: dict[str, list[float]] = {"sample": [], "all": []}
    for seed in range(12):
        values = GenNorm(beta, 1.0).sample(np.random.default_rng(seed), 1 << 19)
        drawn = fit.draw_sample(values, fit.measure(values))
        errors["sample"].append(math.log(fit_gennorm(drawn).beta / beta))
        errors["all"].append(math.log(fit_gennorm(values).beta / beta))
    assert np.std(errors["all"]) < 0.3 * np.std(errors["sample"])


def test_an_outlier_outside_the_sample_moves_the_fit_by_no_more_than_three_standard_errors():
    values = GenNorm(1.0, 1.0).sample(np.random.default_rng(3), 100_000)
    drawn = fit.draw_sample(values, fit.measure(values))
    outside = int(np.flatnonzero(~np.isin(values, drawn))[0])
    for outlier in (1e3, 1e10, 1e38):
        values[outside] = outlier
        assert abs(math.log(fit_gennorm(values).beta)) < 5 * standard_error(1.0, N_SAMPLE)


def test_the_sample_sees_every_position_of_a_kernel():
    positions = np.tile(np.arange(1, 10, dtype=np.float32), 64 * 64 * 8)
    drawn = fit.draw_sample(positions, fit.measure(positions))
    counts = np.bincount(drawn.astype(int))[1:]
    assert counts.sum() == N_SAMPLE
    assert counts.min() > 0.9 * N_SAMPLE / 9


@pytest.mark.parametrize("n", [N_SAMPLE + 1, 3 * N_SAMPLE - 1, (1 << 20) + 7])
def test_the_sample_takes_one_entry_of_each_strip(n: int):
    drawn = fit.draw_sample(np.arange(1, n + 1, dtype=np.float32), fit.Moments(n, 0, np.ones(4)))
    strip = np.floor((drawn.astype(np.float64) - 1) * N_SAMPLE / n)
    assert np.abs(strip - np.arange(N_SAMPLE)).max() <= 1
    assert (np.diff(drawn) >= 0).all()


def test_a_power_of_two_scales_the_fit_exactly():
    values = GenNorm(0.9, 1.0).sample(np.random.default_rng(3), 5000)
    reference = fit_gennorm(values)
    for exponent in (-60, 60):
        got = fit_gennorm(values * np.float32(2.0**exponent))
        assert got.beta == pytest.approx(reference.beta, rel=1e-4)
        assert got.alpha == pytest.approx(reference.alpha * 2.0**exponent, rel=1e-4)


@pytest.mark.parametrize("values", [np.zeros(0), np.zeros(1), np.zeros(100_000), -np.zeros(3)])
def test_nothing_and_zeros_only_have_a_stated_answer(values: np.ndarray):
    assert fit_gennorm(values.astype(np.float32)) == NOTHING


@pytest.mark.parametrize("value", [1.0, -2.5e-3, 1e-45, F32_MAX])
@pytest.mark.parametrize("n", [1, 2, 1000, 100_000])
def test_a_constant_gives_the_flattest_shape_and_its_likeliest_scale(value: float, n: int):
    got = fit_gennorm(np.full(n, value, np.float32))
    assert got.beta == BETA_MAX
    assert got.alpha == pytest.approx(abs(float(np.float32(value))) * BETA_MAX ** (1 / BETA_MAX), rel=1e-3)


def test_hard_tensors_are_fitted_without_overflow_or_warning():
    rng = np.random.default_rng(4)
    normal = rng.standard_normal(50_000)
    one_spike = np.zeros(70_000)
    one_spike[123] = 1.0
    tensors = {
        "huge": normal * 5e37,
        "denormal": normal * 1e-42,
        "both ends": np.array([F32_MAX, 1e-45, 0.0, -F32_MAX]),
        "one spike among zeros": one_spike,
        "an outlier": np.append(normal * 1e-6, 1e30),
        "Cauchy": np.clip(rng.standard_cauchy(50_000), -1e38, 1e38),
        "signs": np.sign(normal),
        "atom at zero": np.where(rng.random(50_000) < 0.9, 0.0, normal),
        "two entries": np.array([1.0, -1e-30]),
    }
    for name, tensor in tensors.items():
        got = fit_gennorm(tensor.astype(np.float32))
        assert BETA_MIN <= got.beta <= BETA_MAX, name
        assert got.alpha >= ALPHA_MIN, name
        assert math.isfinite(got.alpha), name


def test_zeros_count_in_the_likelihood_and_a_rare_nonzero_is_found():
    values = np.zeros(1 << 20, np.float32)
    values[::1000] = GenNorm(1.0, 1.0).sample(np.random.default_rng(5), len(values[::1000]))
    got = fit_gennorm(values)
    assert got.beta == BETA_MIN
    likeliest = (BETA_MIN * float(np.mean(np.abs(values.astype(np.float64)) ** BETA_MIN))) ** (1 / BETA_MIN)
    assert got.alpha == pytest.approx(likeliest, rel=1e-2)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("n", [1, 7, 1000, 8192 * 3 + 5])
def test_a_single_nan_or_infinity_is_refused_wherever_it_stands(bad: float, n: int):
    values = np.random.default_rng(6).standard_normal(n).astype(np.float32)
    for place in {0, n // 2, n - 1}:
        spoilt = values.copy()
        spoilt[place] = bad
        with pytest.raises(NonFiniteError, match=f"1 of {n} entries"):
            fit_gennorm(spoilt)


def test_infinities_of_both_signs_do_not_cancel():
    with pytest.raises(NonFiniteError, match="2 of 4"):
        fit_gennorm(np.array([math.inf, 1, -math.inf, 2], np.float32))


def test_the_largest_finite_numbers_are_no_infinity():
    assert fit_gennorm(np.array([F32_MAX, -F32_MAX] * 5000, np.float32)).beta == BETA_MAX


def test_part_of_a_large_tensor_gives_nearly_the_same_fit(monkeypatch: pytest.MonkeyPatch):
    values = GenNorm(1.2, 0.5).sample(np.random.default_rng(8), 1 << 19)
    whole = fit_gennorm(values)
    monkeypatch.setattr(fit, "N_MOMENTS", 1 << 17)
    assert fit.measure(values).n == 1 << 17
    part = fit_gennorm(values)
    assert part.beta == pytest.approx(whole.beta, rel=0.02)
    assert part.alpha == pytest.approx(whole.alpha, rel=0.02)


def test_moments_are_those_of_the_entries_that_are_not_zero():
    values = GenNorm(0.7, 1e-5).sample(np.random.default_rng(9), 50_000)
    values[::3] = 0
    got = fit.measure(values)
    magnitudes = np.abs(values[values != 0].astype(np.float64))
    assert (got.n, got.n_zero) == (values.size, np.count_nonzero(values == 0))
    assert got.means[0] == pytest.approx(np.log2(magnitudes).mean(), abs=0.09)
    assert got.means[1:] == pytest.approx(
        [np.sqrt(magnitudes).mean(), magnitudes.mean(), np.mean(magnitudes**2)], rel=1e-6
    )


def test_unchecked_fits_still_refuse_what_they_happen_to_read():
    values = np.ones(1000, np.float32)
    values[7] = math.nan
    with pytest.raises(NonFiniteError):
        fit_gennorm(values, check_finite=False)


@pytest.mark.parametrize("n", [5000, 100_001, 1 << 20])
def test_the_fit_is_the_same_to_the_last_bit_wherever_the_tensor_lies(n: int):
    values = GenNorm(1.1, 0.02).sample(np.random.default_rng(14), n)
    room = np.empty(n + 16, np.float32)
    for shift in range(0, 16, 3):
        room[shift : shift + n] = values
        assert fit_gennorm(room[shift : shift + n]) == fit_gennorm(values)


def test_a_tensor_of_any_shape_and_order_is_fitted_like_its_entries():
    values = GenNorm(1.0, 1.0).sample(np.random.default_rng(9), 6000)
    cube = values.reshape(20, 30, 10).transpose(2, 0, 1)
    got = fit_gennorm(cube)
    assert got.beta == pytest.approx(fit_gennorm(values).beta, rel=1e-4)


def test_other_types_are_refused():
    with pytest.raises(UsageError, match="float64, want float32"):
        fit_gennorm(np.zeros(3))  # type: ignore[arg-type]


def hidden_layer_gradient(n_images: int, n_hidden: int) -> np.ndarray:
    """Gradient of a two-layer ReLU network's first weights (64, n_hidden), untrained, on handwritten digits."""
    rng = np.random.default_rng(10)
    images, labels = load_digits(return_X_y=True)
    images, labels = images[:n_images] / 16, labels[:n_images]
    hidden = np.maximum(images @ (first := rng.standard_normal((64, n_hidden)) / 8), 0)
    logits = hidden @ (second := rng.standard_normal((n_hidden, 10)) / math.sqrt(n_hidden))
    errors = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    errors[np.arange(n_images), labels] -= 1
    return (images.T @ ((errors @ second.T) * (images @ first > 0)) / n_images).astype(np.float32)


@pytest.mark.parametrize("n_images", [4, 128])
def test_real_gradients_with_dead_inputs_are_fitted_as_scipy_fits_them(n_images: int):
    gradient = hidden_layer_gradient(n_images, 128).ravel()
    for values in (gradient, gradient[gradient != 0]):
        got = fit_gennorm(values)
        scaled = values.astype(np.float64) / np.abs(values).max()
        shape, _, _ = stats.gennorm.fit(scaled, floc=0)
        assert got.beta == pytest.approx(min(max(shape, BETA_MIN), BETA_MAX), rel=2e-3)
