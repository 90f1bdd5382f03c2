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
    """

    length: int
    value: Callable[[State, int], float]


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


KINDS = {
    "root": Kind(1, _root),
    "exponential": Kind(1, _exponential),
    "f1": Kind(3, _f1),
    "auc": Kind(2 * AUC_BINS, _auc),
}
