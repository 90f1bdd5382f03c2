"""What each aggregation rule withstands, as its theorem says it; and what one push more or less can do to it."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from coding import encoded
from gradwire_common.errors import ConfigError
from gradwire_common.layout.manifest import Layout, Role, TensorSpec
from gradwire_common.methods.entropy import Entropy
from gradwire_common.methods.method import Method
from gradwire_common.methods.raw import Raw
from gradwire_common.settings.clip import ClipNorm
from gradwire_common.settings.config import Config
from gradwire_server.aggregation import rows
from gradwire_server.aggregation.krum import select, square_distances
from gradwire_server.aggregation.push import Push
from gradwire_server.aggregation.registry import check_aggregation, make_rule
from gradwire_server.aggregation.rule import Mean, Rule
from gradwire_server.aggregation.settings import AggregationSettings
from running import running_server
from seams.played import ROUNDS, play
from server.plain_worker import gradient_of, initial_weights, run_config

LAYOUT = Layout([TensorSpec("large", (40, 60)), TensorSpec("small", (5,)), TensorSpec("mean", (3,), role=Role.BUFFER)])
N = LAYOUT.n_parameters
RAW = Raw()
ROBUST = ("trimmed_mean", "median", "krum", "multi_krum")

# n pushes of 4 entries each, all of them different in most
GRADIENTS = st.integers(1, 9).flatmap(
    lambda n: hnp.arrays(np.float32, (n, 4), elements=st.floats(-100, 100, width=32, allow_subnormal=False))
)
FEW = Layout([TensorSpec("weight", (4,))])


def pushes_of(
    gradients: np.ndarray, layout: Layout = FEW, method: Method = RAW, samples: Sequence[int] | None = None
) -> list[Push]:
    with_buffers = gradients.shape[1] > layout.n_parameters
    frames = [b"".join(encoded(method, layout, each.copy(), with_buffers=with_buffers)) for each in gradients]
    weights = samples or [1] * len(frames)
    return [Push(memoryview(data), n, with_buffers) for data, n in zip(frames, weights, strict=True)]


def rule_of(name: str, layout: Layout = FEW, method: Method = RAW, clip: ClipNorm | None = None, **options) -> Rule:
    return make_rule(AggregationSettings(name, options, clip or ClipNorm()), layout, method)


def aggregate(rule: Rule, pushes: Sequence[Push]) -> Mean:
    for slot, push in enumerate(pushes):
        rule.add(push, slot)
    return rule.finish()


def result(name: str, gradients: np.ndarray, **options) -> np.ndarray:
    return aggregate(rule_of(name, **options), pushes_of(gradients)).entries


# ------------------------------------------------------------------------------------------------ theorems


@given(GRADIENTS)
def test_the_median_is_numpys(gradients):
    assert_allclose(result("median", gradients), np.median(gradients.astype(np.float64), axis=0), rtol=1e-6, atol=1e-6)


@given(GRADIENTS, st.floats(0, 0.5))
def test_the_trimmed_mean_is_the_mean_of_what_is_left_of_each_sorted_column(gradients, fraction):
    n = len(gradients)
    cut = min(math.ceil(round(fraction * n, 9)), (n - 1) // 2)
    kept = np.sort(gradients.astype(np.float64), axis=0)[cut : n - cut]
    assert_allclose(result("trimmed_mean", gradients, fraction=fraction), kept.mean(0), rtol=1e-6, atol=1e-6)


@given(GRADIENTS, st.data())
def test_no_minority_moves_an_entry_of_the_median_out_of_the_range_of_the_others(gradients, data):
    n = len(gradients)
    liars = data.draw(st.lists(st.integers(0, n - 1), unique=True, max_size=(n - 1) // 2))
    honest = np.delete(gradients, liars, axis=0)
    lie = data.draw(st.sampled_from([-1e30, -10.0, 0.0, 1e30]))
    gradients[liars] = lie
    got = result("median", gradients)
    assert np.all(honest.min(0) <= got)
    assert np.all(got <= honest.max(0))


@given(GRADIENTS, st.floats(0, 0.5), st.data())
def test_as_many_liars_as_are_trimmed_move_no_entry_out_of_the_range_of_the_others(gradients, fraction, data):
    """So the error is at most the spread of the honest: Yin et al. 2018, the core of theorem 4."""
    n = len(gradients)
    most = min(math.ceil(round(fraction * n, 9)), (n - 1) // 2)
    liars = data.draw(st.lists(st.integers(0, n - 1), unique=True, max_size=most))
    honest = np.delete(gradients, liars, axis=0)
    gradients[liars] = data.draw(st.sampled_from([-3e38, 7.0, 3e38]))
    got = result("trimmed_mean", gradients, fraction=fraction)
    assert np.all(honest.min(0) <= got)
    assert np.all(got <= honest.max(0))


def naive_scores(gradients: np.ndarray, liars: int) -> list[float]:
    scores = []
    for i, one in enumerate(gradients):
        others = sorted(
            float(np.square(one.astype(np.float64) - other).sum()) for j, other in enumerate(gradients) if j != i
        )
        scores.append(sum(others[: max(1, len(gradients) - liars - 2)]))
    return scores


@given(GRADIENTS)
def test_krum_is_the_push_of_the_least_sum_of_distances_to_its_neighbours(gradients):
    n = len(gradients)
    liars = max(0, min(math.ceil(n / 4), (n - 1) // 2, (n - 3) // 2))
    scores = naive_scores(gradients, liars)
    got = result("krum", gradients)
    chosen = [index for index in range(n) if np.array_equal(gradients[index] + 0.0, got + 0.0)]
    assert chosen
    assert min(scores[index] for index in chosen) <= min(scores) + 1e-6 * (1 + max(map(abs, scores)))


@given(st.integers(1, 3), st.integers(0, 2**32 - 1), st.floats(-300, 300), st.booleans())
def test_what_krum_selects_is_near_an_honest_push_wherever_liars_are(liars, seed, place, together):
    """Within 2 r sqrt(n - f - 2) of one, where all honest pushes are within r of their centre."""
    n, rng = 2 * liars + 4, np.random.default_rng(seed)
    honest = rng.uniform(-1, 1, (n - liars, 4)).astype(np.float32)
    radius = max(float(np.linalg.norm(each - honest.mean(0))) for each in honest)
    lies = np.full((liars, 4), place, np.float32) * (1 if together else rng.uniform(-1, 1, (liars, 1)))
    gradients = np.concatenate([honest, lies.astype(np.float32)])
    for index in select(square_distances(gradients.astype(np.float64) @ gradients.T.astype(np.float64)), liars, 1):
        nearest = min(float(np.linalg.norm(gradients[index] - each)) for each in honest)
        assert nearest <= 2 * radius * math.sqrt(n - liars - 2) * (1 + 1e-5)


def test_multi_krum_is_the_mean_without_those_that_are_far_away():
    honest = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    gradients = np.concatenate([honest, np.full((2, 4), -50, np.float32)])
    assert_allclose(result("multi_krum", gradients), honest.mean(0), rtol=1e-5)
    assert_allclose(result("multi_krum", gradients, selected=8), gradients.mean(0), rtol=1e-5)


@given(GRADIENTS, st.floats(0.5, 50), st.data())
def test_liars_move_a_clipped_mean_by_no_more_than_their_share_of_the_bound(gradients, bound, data):
    n = len(gradients)
    liars = data.draw(st.lists(st.integers(0, n - 1), unique=True, max_size=n))
    clip = ClipNorm(bound)
    before = aggregate(rule_of("mean", clip=clip, weights="equal"), pushes_of(gradients)).entries.copy()
    gradients[liars] = data.draw(st.sampled_from([-1e18, 3.0, 1e18]))
    after = aggregate(rule_of("mean", clip=clip, weights="equal"), pushes_of(gradients)).entries
    assert np.linalg.norm(after - before) <= 2 * len(liars) * bound / n * (1 + 1e-4) + 1e-5
    assert np.linalg.norm(after) <= bound * (1 + 1e-4)


@given(GRADIENTS, st.data())
def test_a_minority_does_not_move_the_median_bound_beyond_the_norms_of_the_others(gradients, data):
    n = len(gradients)
    liars = data.draw(st.lists(st.integers(0, n - 1), unique=True, max_size=(n - 1) // 2))
    honest = np.delete(gradients, liars, axis=0)
    gradients[liars] = 1e15
    got = aggregate(rule_of("mean", clip=ClipNorm(median=True), weights="equal"), pushes_of(gradients)).entries
    longest = max(float(np.linalg.norm(each.astype(np.float64))) for each in honest)
    assert np.linalg.norm(got) <= longest * (1 + 1e-4) + 1e-6


# ------------------------------------------------------------------------------- what all of them promise


@pytest.mark.parametrize("name", ROBUST)
@given(GRADIENTS, st.data())
def test_samples_and_the_order_of_pushes_change_nothing(name, gradients, data):
    order = data.draw(st.permutations(range(len(gradients))))
    samples = data.draw(st.lists(st.integers(1, 2**32), min_size=len(gradients), max_size=len(gradients)))
    before = result(name, gradients)
    got = aggregate(rule_of(name), pushes_of(gradients, samples=samples)).entries
    assert_array_equal(got, before)
    if name in ("trimmed_mean", "median"):
        assert_array_equal(result(name, gradients[order]) + 0.0, before + 0.0)


@pytest.mark.parametrize("name", ["mean", *ROBUST])
def test_pushes_that_are_all_alike_come_to_what_they_are_and_none_is_outlying(name):
    gradient = np.random.default_rng(1).standard_normal(LAYOUT.n_parameters + 3).astype(np.float32)
    mean = aggregate(rule_of(name, LAYOUT), pushes_of(np.stack([gradient] * 5), LAYOUT))
    assert_allclose(mean.entries, gradient, rtol=1e-6)
    assert mean.with_buffers
    assert not mean.treated


@pytest.mark.parametrize("method", [RAW, Entropy(bits=2.0), Entropy(bits=2.0, transform="dct")], ids=str)
@pytest.mark.parametrize("name", ["mean", *ROBUST])
def test_the_parts_of_a_long_unit_come_to_the_same_as_the_whole(monkeypatch, name, method):
    rng = np.random.default_rng(2)
    pushes = pushes_of(rng.standard_normal((5, N)).astype(np.float32), LAYOUT, method)
    whole = aggregate(rule_of(name, LAYOUT, method, ClipNorm(3.0)), pushes)
    entries = whole.entries.copy()
    monkeypatch.setattr(rows, "ROWS_BYTES", 4 * 5 * 700)
    parts = aggregate(rule_of(name, LAYOUT, method, ClipNorm(3.0)), pushes)
    assert_allclose(parts.entries[:N], entries[:N], rtol=1e-6, atol=1e-9)
    assert parts.treated.keys() == whole.treated.keys() == set(range(5))


@pytest.mark.parametrize("name", ROBUST)
def test_pushes_that_are_far_from_the_rest_are_named_and_no_others(name):
    rng = np.random.default_rng(3)
    truth = rng.standard_normal(N)
    gradients = (truth + rng.standard_normal((8, N))).astype(np.float32)
    gradients[2] *= -10
    gradients[5] = 40 * rng.standard_normal(N)
    treated = aggregate(rule_of(name, LAYOUT), pushes_of(gradients, LAYOUT)).treated
    assert {slot for slot, treatment in treated.items() if treatment.outlying} == {2, 5}


@pytest.mark.parametrize("clip", [ClipNorm(2.0), ClipNorm(median=True)])
@pytest.mark.parametrize("name", ["mean", *ROBUST])
def test_pushes_that_are_clipped_are_named_with_the_factor(name, clip):
    gradients = np.zeros((5, 4), np.float32)
    gradients[:, 0] = [1, 2, 2, 2, 8]
    treated = aggregate(rule_of(name, clip=clip), pushes_of(gradients)).treated
    assert {slot: treatment.scale for slot, treatment in treated.items() if treatment.scale != 1} == {4: 0.25}


def test_a_bound_that_none_exceeds_changes_no_bit_of_the_mean():
    rng = np.random.default_rng(4)
    pushes = pushes_of(rng.standard_normal((4, N + 3)).astype(np.float32), LAYOUT, samples=[1, 5, 2**24 + 1, 7])
    plain = aggregate(rule_of("mean", LAYOUT), pushes).entries.copy()
    assert_array_equal(aggregate(rule_of("mean", LAYOUT, clip=ClipNorm(1e6)), pushes).entries, plain)


def test_clipping_leaves_buffers_alone():
    gradients = np.full((3, N + 3), 4, np.float32)
    mean = aggregate(rule_of("mean", LAYOUT, clip=ClipNorm(1.0)), pushes_of(gradients, LAYOUT))
    assert_array_equal(mean.entries[N:], 4)
    assert np.linalg.norm(mean.entries[:N]) == pytest.approx(1.0, rel=1e-4)


# ------------------------------------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"aggregation": "trimmed_mean", "aggregation_options": {"fraction": 0.6}},
            "fraction: got '0.6', want",
        ),
        ({"aggregation": "multi_krum", "aggregation_options": {"fraction": "x"}}, "fraction: got 'x', want a number"),
        ({"aggregation": "multi_krum", "aggregation_options": {"selected": -1}}, "selected: got -1, want a whole"),
        ({"aggregation": "mean", "aggregation_options": {"weights": 3}}, "weights: got 3, want samples or equal"),
        ({"aggregation": "median", "aggregation_options": {"fraction": 0.2}}, "unknown option 'fraction'; want none"),
        ({"aggregation": "mean", "aggregation_options": {"layout": 1}}, "unknown option 'layout'; want one of weights"),
        ({"aggregation": "krum", "mode": "asynchronous"}, "aggregation: got 'krum' in the asynchronous mode"),
        ({"clip_norm": "median", "mode": "asynchronous"}, "clip_norm: got 'median' in the asynchronous mode"),
    ],
)
def test_what_cannot_be_is_refused_before_the_port_is_taken(tmp_path: Path, changes, said) -> None:
    with pytest.raises(ConfigError, match=said), running_server(run_config(tmp_path, **changes)):
        pass
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["none", "median", "0.5", "1e-3", "12.0"])
def test_a_clip_norm_is_written_as_it_is_read(text):
    config = Config.load(None, {"clip_norm": text})
    assert str(config.replaced(clip_norm=str(config.clip_norm)).clip_norm) == str(config.clip_norm)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e300", "mean", "", True])
def test_a_clip_norm_that_cannot_be_is_refused(text):
    with pytest.raises(ConfigError, match=r"clip_norm: got .*, want none, median, or a number above 0"):
        Config.load(None, {"clip_norm": text})


@pytest.mark.parametrize("bound", [3.0, "median"])
def test_a_fixed_bound_may_clip_in_the_asynchronous_mode(bound):
    settings = AggregationSettings(clip=ClipNorm.parse(bound), asynchronous=True)
    check: Callable[[], None] = lambda: check_aggregation(settings, RAW)  # noqa: E731
    if bound == 3.0:
        check()
    else:
        with pytest.raises(ConfigError, match="want one that compares none"):
            check()


# ------------------------------------------------------------------------------------------------ real runs


def with_a_liar(worker: int, round_: int) -> np.ndarray:
    honest = gradient_of(10 * round_ + worker)
    return -10 * honest if worker == 1 else honest


@pytest.mark.parametrize(
    "settings",
    [
        {"aggregation": "trimmed_mean"},
        {"aggregation": "median", "quantizer": "uniform"},
        {"aggregation": "multi_krum", "clip_norm": "median"},
        {"aggregation": "mean", "clip_norm": "10.0", "aggregation_options": {"weights": "equal"}},
    ],
    ids=str,
)
def test_a_run_with_a_liar_survives_a_kill_with_the_same_bits(tmp_path: Path, settings) -> None:
    method = Entropy() if settings.get("quantizer") else RAW
    got = play(tmp_path / "runs", with_a_liar, 4, method, **settings)
    assert np.abs(got - initial_weights()).max() < 0.1 * ROUNDS * 5
