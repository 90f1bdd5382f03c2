"""Metrics: what a name says, what is refused, and that merging loses nothing."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradwire_common.errors import NonFiniteError, UsageError
from gradwire_common.metrics import MAX_COUNT, MAX_METRICS, Metric, checked_metrics, is_fraction, merge
from gradwire_common.transport.wire import metrics_from_messages, metrics_to_messages

SUMS = st.floats(-1e200, 1e200)


def direction(name):
    return checked_metrics({name: Metric(0.5, 1)})[name].lower_is_better


def test_a_name_says_whether_lower_is_better_and_a_metric_may_say_otherwise():
    for name in ("loss", "val_loss", "Test Error", "mse", "RMSE", "masked-perplexity", "mae2", "nll"):
        assert direction(name) is True
    for name in ("accuracy", "f1", "r2", "glossary", "bleu", "top-5 accuracy"):
        assert direction(name) is False
    got = checked_metrics({"loss": Metric(1, 1, lower_is_better=False), "latency": Metric(1, 1, lower_is_better=True)})
    assert (got["loss"].lower_is_better, got["latency"].lower_is_better) == (False, True)


def test_accuracies_alone_are_fractions():
    assert [name for name in ("accuracy", "top5_accuracy", "Accuracy", "inaccuracy", "loss") if is_fraction(name)] == [
        "accuracy",
        "top5_accuracy",
        "Accuracy",
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused_by_name(value):
    with pytest.raises(NonFiniteError, match=f"metric perplexity: got a sum of {value} over 3 samples"):
        checked_metrics({"mse": Metric(1, 1), "perplexity": Metric(value, 3)})


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({}, "got 0 metrics, want 1 to 32"),
        ({str(n): Metric(0, 1) for n in range(MAX_METRICS + 1)}, "got 33 metrics"),
        ({"": Metric(0, 1)}, "want a name of 1 to 64 printable"),
        ({"x" * 65: Metric(0, 1)}, "want a name of 1 to 64 printable"),
        ({"a\nb": Metric(0, 1)}, r"metric 'a\\\\nb': want"),
        ({" mse": Metric(0, 1)}, "no space around"),
        ({"mse": Metric(0, 0)}, "mse: got a count of 0, want a whole number from 1"),
        ({"mse": Metric(0, MAX_COUNT + 1)}, "mse: got a count of 9007199254740993"),
        ({"mse": Metric(1e301, 1)}, "mse: got a sum of 1e"),
        ({"accuracy": Metric(97.5, 1)}, "accuracy: got a mean of 97.5, want a fraction from 0 to 1"),
        ({"accuracy": Metric(3, 2)}, "accuracy: got a mean of 1.5"),
    ],
)
def test_metrics_that_cannot_be_are_refused_by_name(metrics, message):
    with pytest.raises(UsageError, match=message):
        checked_metrics(metrics)


def test_a_name_that_travels_twice_is_refused():
    (message,) = metrics_to_messages({"mse": Metric(1, 1)})
    with pytest.raises(UsageError, match="metric mse: got it twice"):
        metrics_from_messages([message, message])


@given(st.lists(st.tuples(SUMS, st.integers(1, MAX_COUNT)), min_size=1, max_size=20), st.randoms())
def test_merging_is_exact_whatever_the_order(parts, random):
    metrics = [Metric(*part) for part in parts]
    want = merge(metrics)
    assert want.sum == float(sum(Fraction(metric.sum) for metric in metrics))
    assert want.count == sum(metric.count for metric in metrics)
    random.shuffle(metrics)
    assert merge(metrics) == want


def test_merging_what_is_not_finite_is_not_finite():
    for sums in ([math.inf, -math.inf], [math.nan, 1.0], [1.7e308, 1.7e308]):
        assert not math.isfinite(merge(Metric(each, 1) for each in sums).sum)


@given(st.integers(1, 10**6), st.data())
def test_a_mean_of_whole_numbers_gives_their_sum_back(count, data):
    right = data.draw(st.integers(0, count))
    assert Metric.of_mean(right / count, count).sum == right


@given(st.dictionaries(st.text("abc é", min_size=1).map(str.strip).filter(bool), st.tuples(SUMS, st.integers(1, 9))))
def test_metrics_come_back_from_the_wire_in_their_order(values):
    if not 1 <= len(values) <= MAX_METRICS or any(len(name) > 64 for name in values):
        return
    want = checked_metrics({name: Metric(*value) for name, value in values.items()})
    got = metrics_from_messages(metrics_to_messages(want))
    assert list(got.items()) == list(want.items())
