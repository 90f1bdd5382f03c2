"""Metrics of torchmetrics merge over workers into what one worker with all samples would have computed."""

from importlib.util import find_spec

import pytest
import torch

from gradwire_common.errors import UsageError
from gradwire_common.metrics import checked_metrics, merge
from gradwire_worker.evaluation import named_metrics

if find_spec("torchmetrics") is None:
    pytest.skip("torchmetrics is not installed: pip install 'gradwire[frameworks]'", allow_module_level=True)

import torchmetrics
from torchmetrics import classification as classes
from torchmetrics import regression, text

WORKERS = 3


def binary(n):
    return torch.rand(n), torch.randint(2, (n,))


def multiclass(n):
    target = torch.randint(4, (n,))  # of 5: one is never seen
    return torch.where(torch.rand(n) < 0.5, target, torch.randint(4, (n,))), target


def multilabel(n):
    return torch.rand(n, 3), torch.randint(2, (n, 3))


def numbers(n):
    return torch.randn(n), torch.randn(n)


def tokens(n):
    return torch.randn(n, 6, 9), torch.randint(9, (n, 6))


CASES = [
    (classes.BinaryF1Score, binary, {}),
    (classes.BinaryFBetaScore, binary, {"beta": 2.0}),
    (classes.BinaryAccuracy, binary, {}),
    (classes.BinaryPrecision, binary, {}),
    (classes.BinarySpecificity, binary, {}),
    (classes.BinaryAUROC, binary, {}),
    (classes.BinaryAUROC, binary, {"thresholds": 50}),
    *((kind, multiclass, {"num_classes": 5, "average": average})
      for kind in (classes.MulticlassF1Score, classes.MulticlassAccuracy, classes.MulticlassRecall)
      for average in ("micro", "macro", "weighted")),
    (classes.MultilabelF1Score, multilabel, {"num_labels": 3}),
    (classes.MultilabelAccuracy, multilabel, {"num_labels": 3}),
    (regression.MeanSquaredError, numbers, {}),
    (regression.MeanSquaredError, numbers, {"squared": False}),
    (regression.MeanAbsoluteError, numbers, {}),
    (text.Perplexity, tokens, {}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "data", "options"), CASES, ids=lambda each: getattr(each, "__name__", ""))
def test_workers_with_parts_report_what_one_with_all_samples_computes(kind, data, options):
    torch.manual_seed(5)
    whole, parts = kind(**options), []
    for worker in range(WORKERS):
        part = kind(**options)
        for n in (7, 30 * worker + 20):
            batch = data(n)
            part.update(*batch)
            whole.update(*batch)
        parts.append(checked_metrics(named_metrics(100, {"it": part}))["it"])
    got = merge(parts)
    assert got.mean == pytest.approx(float(whole.compute()), abs=0.01 if "AUROC" in kind.__name__ else 1e-4)
    if whole.higher_is_better is not None:
        assert bool(got.lower_is_better) is not whole.higher_is_better


def test_weighted_means_and_whole_collections():
    mean = torchmetrics.MeanMetric()
    mean.update(torch.tensor([1.0, 3.0]), weight=torch.tensor([0.5, 1.0]))
    both = torchmetrics.MetricCollection({"f1": classes.BinaryF1Score(), "auc": classes.BinaryAUROC()})
    both.update(torch.tensor([0.1, 0.9, 0.8]), torch.tensor([0, 1, 0]))
    got = named_metrics(3, {"mean": mean, **both})
    assert got["mean"].mean == pytest.approx(3.5 / 1.5)
    assert got["f1"].mean == pytest.approx(2 / 3)
    assert got["auc"].mean == 1.0


@pytest.mark.parametrize(
    ("make", "data"),
    [
        (lambda: classes.MulticlassAUROC(3), (torch.rand(9, 3), torch.arange(9) % 3)),
        (lambda: classes.BinaryCohenKappa(), binary(20)),
        (lambda: regression.R2Score(), numbers(9)),
        (lambda: classes.MulticlassF1Score(5, average="none"), multiclass(9)),
        (lambda: torchmetrics.MaxMetric(), (torch.ones(3),)),
        (lambda: classes.BinaryF1Score(multidim_average="samplewise"), (torch.rand(3, 4), torch.ones(3, 4).int())),
    ],
)
def test_what_does_not_add_up_is_refused_by_name(make, data):
    metric = make()
    metric.update(*data)
    with pytest.raises(UsageError, match=f"score: the states of {type(metric).__name__} do not add up over workers"):
        named_metrics(9, {"score": metric})


def test_a_metric_that_has_seen_nothing_is_refused():
    with pytest.raises(UsageError, match="f1: the BinaryF1Score has seen no batch"):
        named_metrics(9, {"f1": classes.BinaryF1Score()})
