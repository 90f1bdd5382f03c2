"""Metrics whose value over all samples is no mean of the parts' values: what is summed, and the value of the sums.

Each kind has a state, numbers that add up over batches and workers, and a function from the summed state to the value.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

AUC_BINS = 256  # of the scores from 0 to 1; the area is exact but for pairs whose scores share a bin
MAX_STATE = 2 * AUC_BINS  # numbers
MAX_EXPONENT = 700.0  # e^709 is the largest double

State = Sequence[float]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of merged metric.

    Attributes:
        length: how many numbers its state has.
        value: of a state and a count.
        repeated: whether a state may have as many numbers several times, such as once for each class.
    """

    length: int
    value: Callable[[State, int], float]
    repeated: bool = False

    def fits(self, state: State) -> bool:
        """Whether a state has as many numbers as it must."""
        times, rest = divmod(len(state), self.length)
        return not rest and (times == 1 or (self.repeated and times >= 1 and len(state) <= MAX_STATE))


def _root(state: State, count: int) -> float:
    return math.sqrt(max(state[0], 0.0) / count)


def _exponential(state: State, count: int) -> float:
    return math.exp(min(state[0] / count, MAX_EXPONENT))


def _f1(state: State, count: int) -> float:  # noqa: ARG001
    """F1 of the true positives, false positives and false negatives; 0 where there are none of them."""
    hits, false_alarms, misses = (max(each, 0.0) for each in state)
    return 2 * hits / max(2 * hits + false_alarms + misses, 1.0)


def _auc(state: State, count: int) -> float:  # noqa: ARG001
    """The area under the ROC curve: how often a positive scores above a negative, ties half (Hanley, McNeil 1982)."""
    positives, negatives = state[:AUC_BINS], state[AUC_BINS:]
    above = below = 0.0
    for positive, negative in zip(positives, negatives, strict=True):
        above += max(positive, 0.0) * (below + max(negative, 0.0) / 2)
        below += max(negative, 0.0)
    pairs = sum(max(each, 0.0) for each in positives) * below
    return min(above / pairs, 1.0) if pairs else 0.5


def _macro(state: State, count: int) -> float:  # noqa: ARG001
    """The mean over classes of numerator / denominator, of those classes that were seen; 0 where a denominator is."""
    classes = [ratio for ratio, weight in _ratios(state) if weight > 0]
    return math.fsum(classes) / max(len(classes), 1)


def _weighted(state: State, count: int) -> float:  # noqa: ARG001
    """The mean over classes of numerator / denominator, each weighted."""
    classes = [(ratio, weight) for ratio, weight in _ratios(state) if weight > 0]
    total = math.fsum(weight for _, weight in classes)
    return math.fsum(ratio * weight for ratio, weight in classes) / total if total else 0.0


def _ratios(state: State) -> list[tuple[float, float]]:
    """Return ratio and weight of each class, whose state is numerator, denominator, weight."""
    triples = zip(state[::3], state[1::3], state[2::3], strict=True)
    return [(above / below if below > 0 else 0.0, weight) for above, below, weight in triples]


KINDS = {
    "root": Kind(1, _root),
    "exponential": Kind(1, _exponential),
    "f1": Kind(3, _f1),
    "macro": Kind(3, _macro, repeated=True),
    "weighted": Kind(3, _weighted, repeated=True),
    "auc": Kind(2 * AUC_BINS, _auc),
}
