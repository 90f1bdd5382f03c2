"""Metrics of torchmetrics as metrics of a run: their states, summed over batches, add up over workers too.

Nothing of torchmetrics is imported: what is asked of a metric are its states, by name, and its value to compare with.
"""

import math
from collections.abc import Callable
from typing import Any

import torch

from gradwire_common.errors import UsageError
from gradwire_common.merged import AUC_BINS, MAX_STATE
from gradwire_common.metrics import Metric, merge

KNOWN = (
    "Accuracy, Precision, Recall, Specificity, FBeta, F1 (binary, multiclass and multilabel; micro, macro and "
    "weighted), binary AUROC, Perplexity, MeanMetric, MeanSquaredError, and others that are one sum over another"
)
TOLERANCE = 1e-4  # by which float32 sums may differ from ours; scores of an AUC share bins besides
COUNTS = ("tp", "fp", "tn", "fn")

Counts = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
Ratio = tuple[torch.Tensor, torch.Tensor]  # above, below


def merged_metric(name: str, metric: Any, samples: int) -> Metric:
    """Return a metric of torchmetrics that has seen this worker's test batches, such that those of all workers merge.

    Args:
        name: that it is reported by.
        metric: has been updated; neither computed anew nor reset.
        samples: that it has seen.

    Raises:
        UsageError: it has seen nothing, or its states do not add up to its value over all workers.
    """
    kind = type(metric).__name__
    if not metric.update_count:
        raise UsageError(f"{name}: the {kind} has seen no batch, want one that update() was called of")
    states = {state: getattr(metric, state) for state in metric._reductions}
    found = _merged(metric, states, samples)
    value = metric.compute()
    if found is None or not _same(found, value):
        raise UsageError(f"{name}: the states of {kind} do not add up over workers; want one of {KNOWN}")
    return found


def _merged(metric: Any, states: dict[str, Any], samples: int) -> Metric | None:
    """Return what the states come to; None where nothing is known of them."""
    better = metric.higher_is_better
    lower = None if better is None else not better
    if set(states) == set(COUNTS):
        return _of_counts(metric, tuple(states[each] for each in COUNTS), samples, lower)
    if set(states) in ({"preds", "target"}, {"confmat"}) and _is(metric, "BinaryAUROC"):
        return _of_scores(states) if "preds" in states else _of_thresholds(metric, samples)
    sums = [torch.as_tensor(state) for state in states.values() if not isinstance(state, list)]
    if len(sums) != 2 or len(states) != 2 or any(each.numel() != 1 for each in sums):
        return None
    above, below = (float(each) for each in sums)
    if below.is_integer() and below >= 1:
        if _is(metric, "Perplexity"):
            return Metric.perplexity(above, int(below))
        if _is(metric, "MeanSquaredError") and not metric.squared:
            return Metric.root_mean(above, int(below))
        return Metric(above, int(below), lower)
    return Metric.over_classes([above], [below], [below], samples, lower_is_better=lower)


def _of_counts(metric: Any, counts: Any, samples: int, lower: bool | None) -> Metric | None:
    """Return a ratio of true and false positives and negatives, which stand for one class each, or for all."""
    ratio = next((ratio for name, ratio in _RATIOS.items() if _is(metric, name)), None)
    if ratio is None or any(isinstance(each, list) for each in counts):
        return None
    average = getattr(metric, "average", None) or "micro"
    tp, fp, tn, fn = (each.double().reshape(-1) for each in counts)
    if average == "micro":
        tp, fp, tn, fn = (each.sum(0, keepdim=True) for each in (tp, fp, tn, fn))
    if average not in ("micro", "macro", "weighted") or 3 * len(tp) > MAX_STATE:
        return None
    above, below = ratio(metric, (tp, fp, tn, fn))
    weights = {"micro": torch.ones_like(tp), "macro": tp + fp + fn, "weighted": tp + fn}[average]
    return Metric.over_classes(
        above.tolist(), below.tolist(), weights.tolist(), samples, weighted=average == "weighted", lower_is_better=lower
    )


def _of_scores(states: dict[str, Any]) -> Metric:
    """Return the area under the curve of scores and labels that were kept."""
    scores, labels = (_joined(states[each]) for each in ("preds", "target"))
    return Metric.auc(scores.double().tolist(), labels.bool().tolist())


def _of_thresholds(metric: Any, samples: int) -> Metric | None:
    """Return the area under the curve of counts at thresholds: those between two of them share a bin."""
    thresholds = metric.thresholds.double().tolist()
    if len(thresholds) > AUC_BINS or sorted(thresholds) != thresholds:
        return None
    state = [0.0] * (2 * AUC_BINS)
    for label, start in ((1, 0), (0, AUC_BINS)):
        above = [*metric.confmat[:, label, 1].double().tolist(), 0.0]  # at least the threshold
        for at, threshold in enumerate(thresholds):
            state[start + min(int(threshold * AUC_BINS), AUC_BINS - 1)] += above[at] - above[at + 1]
    return Metric(0.0, samples, None, "auc", tuple(state))


def _joined(state: Any) -> torch.Tensor:
    return torch.cat([each.reshape(-1) for each in state]) if isinstance(state, list) else state.reshape(-1)


def _f_beta(metric: Any, counts: Counts) -> Ratio:
    tp, fp, _, fn = counts
    beta = metric.beta**2
    return (1 + beta) * tp, (1 + beta) * tp + beta * fn + fp


def _accuracy(metric: Any, counts: Counts) -> Ratio:
    tp, fp, tn, fn = counts
    if type(metric).__name__.startswith("Multiclass"):
        return tp, tp + fn
    return tp + tn, tp + fp + tn + fn


_RATIOS: dict[str, Callable[[Any, Counts], Ratio]] = {
    "FBetaScore": _f_beta,
    "Precision": lambda _, counts: (counts[0], counts[0] + counts[1]),
    "Recall": lambda _, counts: (counts[0], counts[0] + counts[3]),
    "Specificity": lambda _, counts: (counts[2], counts[2] + counts[1]),
    "Accuracy": _accuracy,
}


def _is(metric: Any, name: str) -> bool:
    return any(kind.__name__.endswith(name) for kind in type(metric).__mro__)


def _same(found: Metric, value: Any) -> bool:
    """Whether the metric has the value that torchmetrics computes."""
    if not isinstance(value, torch.Tensor) or value.numel() != 1:
        return False
    tolerance = TOLERANCE if found.kind != "auc" else 2 / AUC_BINS
    return math.isclose(merge([found]).mean, float(value), rel_tol=tolerance, abs_tol=tolerance)
