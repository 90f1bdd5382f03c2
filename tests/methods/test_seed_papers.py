"""What the papers behind gradwire state, as theorems and figures about what their methods send."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from gradwire_common.codec.formats import format_named
from gradwire_common.codec.formats.grid_scale import grid_distortion, optimal_scale
from gradwire_common.codec.model.families import fit_laplace, fit_normal, fit_weibull
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.model.lloyd import lloyd_magnitudes
from gradwire_common.codec.model.weibull import DoubleWeibull, fit_double_weibull
from gradwire_common.layout.manifest import Layout, TensorSpec
from gradwire_common.methods.co3 import Co3
from gradwire_common.methods.method import EncodeReport
from gradwire_common.methods.registry import build_method
from gradwire_common.methods.rotation import rotate, rotate_back
from gradwire_common.methods.update import decode_update

F32 = npt.NDArray[np.float32]
N = 1 << 16


def sent(name: str, u: F32, **options: Any) -> tuple[F32, float]:
    """What one update says, and its bits an entry."""
    method, layout = build_method(name, options), Layout([TensorSpec("w", (u.size,))])
    data = b"".join(method.encoder(layout).encode(u.copy(), EncodeReport()))
    out = np.empty_like(u)
    decode_update(data, layout.parameters, out, method)
    return out, 8 * len(data) / u.size


def nmse(u: F32, got: F32) -> float:
    return float(np.square(u - got, dtype=float).sum() / np.square(u, dtype=float).sum())


def draw(model: GenNorm | None = None, n: int = N, seed: int = 0) -> F32:
    return (model or GenNorm(1.0, 1.0)).sample(np.random.default_rng(seed), n)


@pytest.mark.parametrize(
    ("bits", "plain", "plain_least", "coded"),
    [(1, 0.571, 0.363, 0.535), (2, 0.133, 0.1175, 0.098), (3, 0.0358, 0.0345, 0.0227), (4, 0.0096, 0.0095, 0.0056)],
)
def test_eden_s_error_is_that_of_normal_data_whatever_the_entries(
    bits: int, plain: float, plain_least: float, coded: float
) -> None:
    for u in (draw(GenNorm(0.6, 1.0)), draw(GenNorm(2.0, 3.0))):
        assert nmse(u, sent("eden", u, bits=bits, coded=False)[0]) == pytest.approx(plain, rel=0.03)
        got, taken = sent("eden", u, bits=bits, coded=False, scale="least")
        assert nmse(u, got) == pytest.approx(plain_least, rel=0.03)
        assert taken == pytest.approx(bits, abs=0.01)
        got, taken = sent("eden", u, bits=bits)
        assert nmse(u, got) == pytest.approx(coded, rel=0.03)
        assert taken == pytest.approx(bits, abs=0.05)


def test_eden_is_unbiased_over_updates_and_takes_fractions_of_a_bit() -> None:
    """E decoded = u: Vargaftik et al. 2022, theorem 2.1."""
    u = draw(n=3000)
    method, layout = build_method("eden", {"bits": 0.5}), Layout([TensorSpec("w", (u.size,))])
    encoder, total, n = method.encoder(layout), np.zeros(u.size), 200
    errors = []
    for _ in range(n):
        out = np.empty_like(u)
        decode_update(b"".join(encoder.encode(u.copy(), EncodeReport())), layout.parameters, out, method)
        errors.append(nmse(u, out))
        total += out
    assert nmse(u, (total / n).astype(np.float32)) < 1.3 * float(np.mean(errors)) / n


@pytest.mark.parametrize("n", [0, 1, 31, 33, 4096, 4097, 10_000])
def test_a_rotation_keeps_the_norm_and_rotating_back_gives_the_entries(n: int) -> None:
    u = draw(n=n)
    rotated = rotate(u, 7, 4096)
    assert np.linalg.norm(rotated) == pytest.approx(np.linalg.norm(u), rel=1e-5)
    assert rotated.size < n + 32
    assert_allclose(rotate_back(rotated, n, 7, 4096), u, atol=1e-5)


@pytest.mark.parametrize(
    ("beta", "scale", "error"),
    [
        (0.3, 0.000893, 0.1436),
        (0.4, 0.01235, 0.1055),
        (0.5, 0.0527, 0.0816),
        (0.7, 0.2386, 0.0547),
        (1.0, 0.6515, 0.0364),
        (1.5, 1.292, 0.0246),
        (2.0, 1.751, 0.0199),
    ],
)
def test_co3_s_scales_and_errors_are_those_of_the_table(beta: float, scale: float, error: float) -> None:
    grid = Co3().grid
    got, model = optimal_scale(grid, beta), GenNorm(beta, 1.0)
    assert got == pytest.approx(scale, rel=0.02)
    assert grid_distortion(grid, beta, got) / model.variance == pytest.approx(error, rel=2e-3)
    if beta >= 0.5:  # samples of heavier tails have another variance each time
        u = draw(model, 4 * N)
        assert nmse(u, sent("co3", u)[0]) == pytest.approx(error, rel=0.06)


def test_the_float_grids_have_the_levels_of_the_paper_and_float8_s_scale_hardly_matters() -> None:
    for name, n, largest in [("float8-1-5-2", 247, 57344.0), ("float8-1-4-3", 239, 30.0), ("float4-1-2-1", 11, 3.0)]:
        levels = format_named(name).build(1.0).levels  # type: ignore[attr-defined]
        assert len(levels) == n
        assert levels[-1] == pytest.approx(largest)
    grid, model = format_named("float8-1-5-2"), GenNorm(1.0, 2**-0.5)
    errors = grid_distortion(grid, 1.0, 2.0 ** np.arange(-8, 9) * 2**-0.5) / 2  # type: ignore[arg-type]
    assert model.variance == pytest.approx(1.0)
    assert errors.min() > 0.0026
    assert errors.max() < 0.0029


def test_co3_fits_again_after_as_many_updates_as_it_is_told() -> None:
    method, layout = build_method("co3", {"refit": 3}), Layout([TensorSpec("w", (1000,))])
    encoder, u = method.encoder(layout), draw(n=1000)
    scales = []
    for i in range(5):
        list(encoder.encode(u * np.float32(2.0**i), EncodeReport()))
        scales.append(float(encoder.state()["scales"][0]))
    assert scales[0] == scales[1] == scales[2] == pytest.approx(8 * scales[3])
    assert scales[3] == scales[4]


@pytest.mark.parametrize("power", [0.0, 2.0])
@pytest.mark.parametrize(
    "model", [GenNorm(2.0, 2**0.5), GenNorm(0.5, 1.0), DoubleWeibull(0.7, 1.0), DoubleWeibull(1.5, 1.0)]
)
def test_lloyd_s_levels_are_the_centres_of_their_cells(model: GenNorm | DoubleWeibull, power: float) -> None:
    """Against integrals of the density."""
    levels = lloyd_magnitudes(model, 4, power)
    borders = np.concatenate([[0.0], (levels[1:] + levels[:-1]) / 2, [float(model.quantile(1 - 1e-15))]])
    for low, high, level in zip(borders[:-1], borders[1:], levels, strict=True):
        x = np.linspace(max(low, 1e-9) ** 0.2, high**0.2, 20_001) ** 5
        weight = x**power * model.density(x)
        assert level == pytest.approx(np.trapezoid(weight * x, x) / np.trapezoid(weight, x), rel=2e-3)
    if model == GenNorm(2.0, 2**0.5) and not power:
        assert_allclose(levels, [0.2451, 0.7560, 1.3439, 2.1520], atol=2e-4)  # Max 1960, table I


def test_a_double_weibull_is_found_again_and_is_scipy_s() -> None:
    model = DoubleWeibull(0.7, 3.0)
    u = model.quantile(np.random.default_rng(0).random(N)).astype(np.float32)
    got = fit_double_weibull(u)
    assert got is not None
    assert (got.shape, got.scale) == (pytest.approx(0.7, rel=0.01), pytest.approx(3.0, rel=0.02))
    x, oracle = np.linspace(-9, 9, 50), stats.dweibull(0.7, scale=3.0)
    assert_allclose(model.density(x), oracle.pdf(x))
    assert_allclose(model.cdf(x), oracle.cdf(x))
    assert_allclose(model.quantile(model.cdf(x)), x)
    assert model.variance == pytest.approx(oracle.var())
    assert model.moment_inside(2, np.inf) == pytest.approx(model.variance)
    assert fit_double_weibull(np.zeros(5, np.float32)) is None
    assert fit_normal(u).variance == pytest.approx(np.square(u, dtype=float).mean())
    assert fit_laplace(u).moment(1) == pytest.approx(np.abs(u).mean(dtype=float))
    assert fit_weibull(u) == got


@pytest.mark.parametrize("fit", ["gennorm", "weibull"])
def test_m22_keeps_what_its_bits_allow_and_weighs_large_entries(fit: str) -> None:
    u = draw(GenNorm(0.7, 1.0))
    lost = {}
    for power in (0.0, 4.0):
        got, taken = sent("m22", u, bits=3, power=power, fit=fit)
        assert np.count_nonzero(got) == pytest.approx(0.2 * u.size, rel=0.001)
        assert len(np.unique(got)) <= 9
        assert 0.72 < taken < 0.72 + 0.6  # places cost the entropy of 0.2
        error = np.square(u - got, dtype=float)
        lost[power] = error.mean(), (u.astype(float) ** 4 * error).mean()
    assert lost[0.0][0] < lost[4.0][0]
    assert lost[0.0][1] > lost[4.0][1]
    got, _ = sent("onebit", u)
    assert np.count_nonzero(got) == pytest.approx(0.452 * u.size, rel=0.001)


def test_tinyscript_loses_what_lloyd_s_levels_of_its_data_lose() -> None:
    model = DoubleWeibull(0.8, 1.0)
    u = model.quantile(np.random.default_rng(0).random(N)).astype(np.float32)
    got, taken = sent("tinyscript", u, bits=3)
    levels = lloyd_magnitudes(model, 4)
    want = np.abs(np.abs(u)[:, None] - levels).min(1)
    assert nmse(u, got) == pytest.approx(float(np.square(want).mean() / np.square(u, dtype=float).mean()), rel=0.02)
    assert taken < 3.02


def test_a_count_sketch_finds_the_heavy_entries_and_estimates_them_within_its_bound() -> None:
    """abs(estimate - u) <= 3 norm(u) / sqrt(columns) but rarely: Charikar, Chen, Farach-Colton 2002, lemma 4."""
    u = 0.01 * draw(n=20_000)
    heavy = np.arange(0, 20_000, 2000)
    u[heavy] = np.where(heavy % 4000, 5.0, -5.0)
    got, taken = sent("countsketch", u, density=0.0005, cells=1.0)
    assert set(np.flatnonzero(got)) == set(heavy)
    assert np.abs(got - u)[heavy].max() <= 3 * np.linalg.norm(u) / 4000**0.5
    assert taken < 8.1


def test_the_trellis_loses_less_than_single_bits_and_its_error_knows_nothing_of_the_entries() -> None:
    """A bit of a scalar quantiser loses A^2 / 48; four states gain 0.85 dB (Marcellin, Fischer 1990: 0.99)."""
    u, errors = np.empty(0, np.float32), []  # entries far from where the circle closes
    for u in (np.full(N, 0.3, np.float32), np.random.default_rng(0).uniform(-0.5, 0.5, N).astype(np.float32)):
        u[0] = 1.0
        out, taken = sent("tcq", u, density=1.0)
        assert taken < 1.01
        errors.append(np.square(u - out, dtype=float).mean())
    a = 2 * float(np.abs(u).max())
    square = float(np.square(u, dtype=float).mean())
    noise = 0.825 * a * a / 48
    assert errors[1] / square == pytest.approx(1 - square / (square + noise), rel=0.1)  # the least-error factor


@pytest.mark.parametrize("samples", [2, 4])
def test_a_trellis_s_bit_stands_for_as_many_samples_as_it_is_told(samples: int) -> None:
    u = draw()
    got, taken = sent("tcq", u, density=0.1, samples=samples)
    kept = np.count_nonzero(got)
    assert kept <= 0.1 * N + 1
    entropy = -(0.1 * np.log2(0.1) + 0.9 * np.log2(0.9))
    assert taken == pytest.approx(entropy + 0.1 / samples, rel=0.02)
    assert nmse(u, got) < 1
