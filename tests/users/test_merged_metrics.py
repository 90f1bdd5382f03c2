"""Metrics that are no means: their value over all workers is that of all samples at once."""

import math

import numpy as np
import pytest

from gradwire import Metric
from gradwire_common.errors import GradwireError, UsageError
from gradwire_common.metrics import checked_metrics, merge
from gradwire_common.transport.wire import metrics_from_messages, metrics_to_messages
from gradwire_common.v1 import parameter_server_pb2 as pb
from running import eventually, running_server
from server.plain_worker import gradient_of, plain_workers, refused, run_config

RNG = np.random.default_rng(3)
SCORES = RNG.integers(0, 256, 300) / 256 + 1 / 512
LABELS = RNG.random(300) < SCORES
PARTS = [slice(0, 20), slice(20, 250), slice(250, 300)]  # of uneven sizes


def area(scores, labels):
    """The share of pairs in which the positive has the higher score, as the definition has it."""
    positive, negative = scores[labels][:, None], scores[~labels][None, :]
    return float(((positive > negative) + 0.5 * (positive == negative)).mean())


def f1_of(scores, labels):
    said = scores > 0.5
    return Metric.f1(int((said & labels).sum()), int((said & ~labels).sum()), int((~said & labels).sum()))


KINDS = {
    "auc": (lambda part: Metric.auc(SCORES[part], LABELS[part]), area(SCORES, LABELS)),
    "f1": (lambda part: f1_of(SCORES[part], LABELS[part]), f1_of(SCORES, LABELS).mean),
    "rmse": (
        lambda part: Metric.root_mean(float((SCORES[part] ** 2).sum()), len(SCORES[part])),
        math.sqrt(float((SCORES**2).mean())),
    ),
    "perplexity": (
        lambda part: Metric.perplexity(float(SCORES[part].sum()), len(SCORES[part])),
        math.exp(float(SCORES.mean())),
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_the_value_of_merged_parts_is_that_of_all_samples(name):
    of_part, expected = KINDS[name]
    parts = [of_part(part) for part in PARTS]
    sent = [metrics_from_messages(metrics_to_messages(checked_metrics({name: part})))[name] for part in parts]
    assert merge(sent).mean == pytest.approx(expected, rel=1e-12)
    assert merge(sent[::-1]) == merge(sent)
    assert merge(sent).lower_is_better == (name in ("rmse", "perplexity"))
    assert np.mean([part.mean for part in parts]) != pytest.approx(expected, rel=1e-3)  # a mean is the wrong merge


def test_two_workers_values_are_merged_by_the_server(tmp_path):
    config = run_config(tmp_path, rounds=1, evaluate_every=1)
    with running_server(config) as server, plain_workers(server.address, 2) as (a, b):
        for worker in (a, b):
            worker.begin()
        for worker in (a, b):
            worker.push(gradient_of(1), 1)
        for worker, part in ((a, slice(0, 40)), (b, slice(40, 300))):
            worker.receive()
            metrics = metrics_to_messages({name: of_part(part) for name, (of_part, _) in KINDS.items()})
            worker.stub.Report(pb.EvaluationReport(session=worker.session, version=1, metrics=metrics))
        evaluation = eventually(lambda: list(a.status().evaluations))[0]
        for worker in (a, b):
            worker.leave()
        server.join()
    got = {metric.name: metric.sum / metric.count for metric in evaluation.metrics}
    assert got == pytest.approx({name: expected for name, (_, expected) in KINDS.items()}, rel=1e-12)
    assert all(not metric.state for metric in evaluation.metrics)  # a status stays small


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"kind": "median"}, "of the kind 'median', want 1 of root"),
        ({"kind": "f1", "state": [1.0]}, "got a state of 1 numbers"),
        ({"state": [1.0]}, "of the kind ''"),
        ({"kind": "auc", "state": [0.0] * 10_000}, "got a state of 513 numbers"),
        ({"kind": "root", "state": [math.nan]}, "not finite"),
    ],
)
def test_a_state_that_cannot_be_is_refused_by_name(tmp_path, changes, match):
    with pytest.raises(GradwireError, match=f"metric m: .*{match}"):
        metrics_from_messages([pb.Metric(name="m", sum=1, count=1, **changes)])


def test_a_server_refuses_it_and_takes_the_next_report(tmp_path):
    config = run_config(tmp_path, workers=1, rounds=1, evaluate_every=1)
    with running_server(config) as server, plain_workers(server.address, 1) as (a,):
        a.begin()
        a.push(gradient_of(1), 1)
        a.receive()
        bad = [pb.Metric(name="m", sum=1, count=1, kind="median", state=[1])]
        with refused(UsageError, "metric m"):
            a.stub.Report(pb.EvaluationReport(session=a.session, version=1, metrics=bad))
        good = metrics_to_messages({"m": Metric.f1(3, 1, 0)})
        a.stub.Report(pb.EvaluationReport(session=a.session, version=1, metrics=good))
        assert a.status().evaluations[0].metrics[0].sum == pytest.approx(4 * 6 / 7)
        a.leave()
        server.join()


@pytest.mark.parametrize(("scores", "labels"), [([0.5], []), ([], []), ([1.5], [True]), ([math.nan], [True])])
def test_an_area_of_what_are_no_scores_is_refused(scores, labels):
    with pytest.raises(UsageError, match=r"auc: got .*; want scores from 0 to 1"):
        Metric.auc(scores, labels)


def test_samples_of_one_class_alone_have_no_area_to_tell():
    assert Metric.auc([0.1, 0.9], [True, True]).mean == 0.5
    assert Metric.f1(0, 0, 0).mean == 0.0
