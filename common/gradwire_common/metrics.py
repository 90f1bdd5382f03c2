"""Metrics of evaluations: by name, the sum of a measure over test samples and their count, merged exactly."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gradwire_common.errors import NonFiniteError, UsageError
from gradwire_common.foreign_text import printable
from gradwire_common.merged import AUC_BINS, KINDS

MAX_METRICS = 32  # of one evaluation; bounds what a report costs the server, and a status its reader
MAX_METRIC_NAME = 64  # characters
MAX_COUNT = 2**53  # samples; whole numbers up to it are exact as doubles
MAX_SUM = 1e300  # so that the sum over all workers is finite too

ERRORS = frozenset({"loss", "error", "mse", "rmse", "mae", "nmse", "nll", "perplexity"})  # words of what to minimise
FRACTIONS = frozenset({"accuracy"})  # words of what is a fraction of the samples, shown in percent
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of an evaluation.

    Attributes:
        sum: the measure summed over samples, such as the number of right answers or a sum of losses.
        count: samples (or tokens, or whatever the mean is taken over), 1 to MAX_COUNT.
        lower_is_better: whether the smallest mean is the best; None for what the name says: yes for loss, error, mse,
            rmse, mae, nmse, nll and perplexity, also as a word of a longer name, otherwise no.
        kind: what the metric is where it is no mean, one of `merged.KINDS`; empty for a mean.
        state: what adds up over samples and gives the value of such a metric, whose `sum` is then value * count.
    """

    sum: float
    count: int
    lower_is_better: bool | None = None
    kind: str = ""
    state: tuple[float, ...] = ()

    @classmethod
    def root_mean(cls, total: float, count: int) -> "Metric":
        """Return the square root of a mean, such as the RMSE of a sum of squared errors over `count` values."""
        return _merged("root", (float(total),), count, lower=True)

    @classmethod
    def perplexity(cls, total: float, count: int) -> "Metric":
        """Return the perplexity of a sum of negative log-likelihoods (in nats) over `count` tokens."""
        return _merged("exponential", (float(total),), count, lower=True)

    @classmethod
    def f1(cls, hits: int, false_alarms: int, misses: int) -> "Metric":
        """Return the F1 score of true positives, false positives and false negatives."""
        return _merged("f1", (float(hits), float(false_alarms), float(misses)), max(1, hits + false_alarms + misses))

    @classmethod
    def auc(cls, scores: Sequence[float], labels: Sequence[bool]) -> "Metric":
        """Return the area under the ROC curve of `scores`, from 0 to 1, of which those with a true label are positive.

        Scores are counted in 256 bins, so what differs by less than 1/256 counts as equal.

        Raises:
            UsageError: a score is not from 0 to 1, or there are not as many labels as scores, or none.
        """
        scores, labels = [float(each) for each in scores], [bool(each) for each in labels]
        wrong = next((each for each in scores if not 0 <= each <= 1), None)
        if wrong is not None or not scores or len(scores) != len(labels):
            got = f"{len(scores)} scores and {len(labels)} labels" if wrong is None else f"a score of {wrong:g}"
            raise UsageError(f"auc: got {got}; want scores from 0 to 1, such as probabilities, and a label for each")
        state = [0.0] * (2 * AUC_BINS)
        for score, label in zip(scores, labels, strict=True):
            state[min(int(score * AUC_BINS), AUC_BINS - 1) + (0 if label else AUC_BINS)] += 1
        return _merged("auc", tuple(state), len(scores))

    @classmethod
    def over_classes(
        cls,
        numerators: Sequence[float],
        denominators: Sequence[float],
        weights: Sequence[float],
        count: int,
        *,
        weighted: bool = False,
        lower_is_better: bool | None = None,
    ) -> "Metric":
        """Return the mean over classes of a ratio of sums, such as a macro average of recalls.

        Args:
            numerators: of each class, summed over samples.
            denominators: likewise.
            weights: likewise; a class whose weight is 0 over all workers is left out.
            count: samples.
            weighted: whether each class counts as much as its weight; otherwise all count alike.
            lower_is_better: the direction; None for what the name says.
        """
        triples = zip(map(float, numerators), map(float, denominators), map(float, weights), strict=True)
        state = tuple(number for triple in triples for number in triple)
        return _merged("weighted" if weighted else "macro", state, count, lower=lower_is_better)

    @classmethod
    def of_mean(cls, mean: float, count: int, *, lower_is_better: bool | None = None) -> "Metric":
        """Return the metric whose mean over `count` samples is `mean`.

        Where `mean` is a whole number divided by `count`, the sum is that whole number.
        """
        total = mean * count
        if math.isfinite(total) and round(total) / count == mean:
            total = float(round(total))
        return cls(total, count, lower_is_better)

    @property
    def mean(self) -> float:
        """The mean over the samples."""
        return self.sum / self.count


def words_of(name: str) -> set[str]:
    """Return the words of a metric's name, in lower case: "val_loss" has val and loss."""
    return set(_WORD.findall(name.lower()))


def is_fraction(name: str) -> bool:
    """Whether a metric of that name is a fraction of the samples, shown in percent: an accuracy of any kind."""
    return not words_of(name).isdisjoint(FRACTIONS)


def merge(parts: Iterable[Metric]) -> Metric:
    """Return the metric of all samples of some parts.

    The sum is the exact sum of the parts' sums, rounded once to a double, so it does not depend on their order; sums
    that are whole numbers up to 2**53 stay exact. The lower is better where any part says so. Where the first part is
    no mean, states are added, and parts of another kind are left out.
    """
    parts = list(parts)
    kind = parts[0].kind
    parts = [part for part in parts if (part.kind, len(part.state)) == (kind, len(parts[0].state))]
    directions = [part.lower_is_better for part in parts if part.lower_is_better is not None]
    lower = any(directions) if directions else None
    count = sum(part.count for part in parts)
    if kind:
        return _merged(
            kind, tuple(map(math.fsum, zip(*(part.state for part in parts), strict=True))), count, lower=lower
        )
    return Metric(_total([part.sum for part in parts]), count, lower)


def _merged(kind: str, state: tuple[float, ...], count: int, *, lower: bool | None = None) -> Metric:
    return Metric(KINDS[kind].value(state, max(1, count)) * count, count, lower, kind, state)


def _total(sums: list[float]) -> float:
    try:
        return math.fsum(sums)
    except (OverflowError, ValueError):  # too large for a double, or infinities of both signs
        return float(sum(sums))


def checked_metrics(metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """Return the metrics of an evaluation, each with its direction.

    Raises:
        NonFiniteError: a sum is NaN or infinite; names the metric.
        UsageError: there are none or too many of them, or a name, a count or a sum cannot be; names the metric.
    """
    if not 1 <= len(metrics) <= MAX_METRICS:
        raise UsageError(f"evaluation: got {len(metrics)} metrics, want 1 to {MAX_METRICS}")
    return {name: _checked(name, metric) for name, metric in metrics.items()}


def _checked(name: str, metric: Metric) -> Metric:
    if not (0 < len(name) <= MAX_METRIC_NAME and name.isprintable() and name == name.strip()):
        shown = printable(name, MAX_METRIC_NAME)
        raise UsageError(
            f"metric {shown!r}: want a name of 1 to {MAX_METRIC_NAME} printable characters, no space around"
        )
    if not isinstance(metric.count, int) or not 1 <= metric.count <= MAX_COUNT:
        raise UsageError(f"metric {name}: got a count of {metric.count}, want a whole number from 1 to {MAX_COUNT}")
    if metric.kind or metric.state:
        _check_state(name, metric)
    if not math.isfinite(metric.sum):
        raise NonFiniteError(f"metric {name}: got a sum of {metric.sum} over {metric.count} samples, want a finite one")
    if abs(metric.sum) > MAX_SUM:
        raise UsageError(f"metric {name}: got a sum of {metric.sum:.3g}, want at most {MAX_SUM:.0e} either way")
    if is_fraction(name) and not 0 <= metric.sum <= metric.count:
        raise UsageError(
            f"metric {name}: got a mean of {metric.mean:g}, want a fraction from 0 to 1, shown in percent; "
            "anything else needs another name"
        )
    lower = not words_of(name).isdisjoint(ERRORS) if metric.lower_is_better is None else metric.lower_is_better
    if metric.kind or metric.state:
        return _merged(metric.kind, metric.state, metric.count, lower=lower)  # the sum follows from the state
    return Metric(metric.sum, metric.count, lower)


def _check_state(name: str, metric: Metric) -> None:
    """Raise UsageError or NonFiniteError where a metric that is no mean cannot be."""
    kind = KINDS.get(metric.kind)
    if kind is None or not kind.fits(metric.state):
        got = f"{len(metric.state)} numbers of the kind {printable(metric.kind, 32)!r}"
        raise UsageError(
            f"metric {name}: got a state of {got}, want "
            + ", ".join(f"{each.length}{' a class' * each.repeated} of {known}" for known, each in KINDS.items())
        )
    if not all(math.isfinite(each) and abs(each) <= MAX_SUM for each in metric.state):
        raise NonFiniteError(f"metric {name}: its state has a number that is not finite or above {MAX_SUM:.0e}")
