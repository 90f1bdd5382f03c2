import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.errors import UsageError

BETAS = (0.2, 0.5, 0.87, 1.0, 1.5, 2.0, 4.0)
shapes = st.floats(0.2, 4.0)
scales = st.floats(1e-30, 1e30)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("alpha", [1e-6, 1.0, 3e4])
def test_density_cdf_and_moments_are_those_of_scipy(beta: float, alpha: float):
    model, oracle = GenNorm(beta, alpha), stats.gennorm(beta, scale=alpha)
    x = alpha * np.linspace(-5, 5, 61)
    assert_allclose(model.log_density(x), oracle.logpdf(x), rtol=1e-12)
    assert_allclose(model.density(x), oracle.pdf(x), rtol=1e-11)
    assert_allclose(model.cdf(x), oracle.cdf(x), rtol=1e-11)
    assert_allclose(model.survival(x), oracle.sf(x), rtol=1e-11)
    assert_allclose(model.variance, oracle.var(), rtol=1e-11)
    assert_allclose(model.entropy, oracle.entropy() / math.log(2), rtol=1e-10)


def test_beta_2_is_normal_and_beta_1_is_laplace_into_both_tails():
    x = np.array([-30.0, -10.0, -3.0, -1e-9, 0.0, 1e-9, 3.0, 10.0, 30.0])
    normal, laplace = GenNorm(2, math.sqrt(2)), GenNorm(1, 1)
    assert_allclose(normal.cdf(x), stats.norm.cdf(x), rtol=1e-11)
    assert_allclose(normal.survival(x), stats.norm.sf(x), rtol=1e-11)
    assert_allclose(laplace.cdf(x), stats.laplace.cdf(x), rtol=1e-12)


@given(shapes, scales, st.floats(1e-300, 0.5))
def test_quantile_inverts_cdf_down_to_the_smallest_probabilities(beta: float, alpha: float, p: float):
    model = GenNorm(beta, alpha)
    assert_allclose(model.cdf(model.quantile(p)), p, rtol=1e-9)


@given(shapes, st.floats(1e-12, 1e-3))
def test_quantile_near_the_median_keeps_its_relative_accuracy(beta: float, excess: float):
    model = GenNorm(beta, 1.0)
    assert_allclose(model.inside(model.quantile(0.5 + excess)), 2 * ((0.5 + excess) - 0.5), rtol=1e-9)


def test_quantiles_at_the_ends():
    model = GenNorm(0.7, 2.0)
    assert model.quantile(0.0) == -math.inf
    assert model.quantile(1.0) == math.inf
    assert model.quantile(0.5) == 0.0


@given(shapes, st.floats(0, 100))
def test_inside_and_survival_make_up_the_whole(beta: float, x: float):
    model = GenNorm(beta, 1.0)
    assert_allclose(model.inside(x) + 2 * model.survival(x), 1, rtol=1e-12)


def test_extreme_scales_neither_overflow_nor_warn():
    x = np.array([0.0, 1e-45, 1.0, 3.4e38, np.inf])
    for alpha in (2.0**-149, 1e38, 1e-300, 1e300):
        for beta in (0.2, 4.0):
            got = GenNorm(beta, alpha).survival(x)
            assert ((got >= 0) & (got <= 0.5)).all()
    assert GenNorm(0.2, 1e300).variance == math.inf


@pytest.mark.parametrize("beta", BETAS)
def test_samples_follow_the_cdf(beta: float):
    model = GenNorm(beta, 3.0)
    got = model.sample(np.random.default_rng(7), 20_000)
    assert got.dtype == np.float32
    assert stats.kstest(got.astype(np.float64), model.cdf).pvalue > 1e-3


@pytest.mark.parametrize(("beta", "alpha"), [(0, 1), (1, 0), (-1, 1), (math.nan, 1), (1, math.inf)])
def test_parameters_that_define_no_density_are_refused_with_their_value(beta: float, alpha: float):
    with pytest.raises(UsageError, match="want a positive finite number"):
        GenNorm(beta, alpha)
