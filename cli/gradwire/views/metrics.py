"""The metrics of a run's evaluations: one curve for each name, and how its values are written."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from gradwire_common.metrics import is_fraction
from gradwire_common.v1 import parameter_server_pb2 as pb

LAST_EVALUATIONS = 5  # that a mean is taken over: one evaluation alone moves by chance, an accuracy by a point or so


@dataclass
class Curve:
    """The means of one metric, by version, oldest first; never empty."""

    name: str
    lower_is_better: bool
    versions: list[int] = field(default_factory=list)
    means: list[float] = field(default_factory=list)

    @property
    def last(self) -> float:
        """The newest mean, hence that of the weights that a run leaves."""
        return self.means[-1]

    @property
    def mean_of_last(self) -> float:
        """The mean of the newest LAST_EVALUATIONS means."""
        newest = self.means[-LAST_EVALUATIONS:]
        return sum(newest) / len(newest)

    @property
    def best(self) -> float:
        """The lowest mean where lower is better, otherwise the highest."""
        return min(self.means) if self.lower_is_better else max(self.means)

    @property
    def best_version(self) -> int:
        """The first version with the best mean."""
        return self.versions[self.means.index(self.best)]


def curves(evaluations: Iterable[pb.Evaluation]) -> dict[str, Curve]:
    """Return the metrics of evaluations, oldest first, in the order in which they came up."""
    result: dict[str, Curve] = {}
    for evaluation in evaluations:
        for metric in evaluation.metrics:
            curve = result.setdefault(metric.name, Curve(metric.name, metric.lower_is_better))
            curve.versions.append(evaluation.version)
            curve.means.append(mean_of(metric))
    return result


def direction(curve: Curve) -> str:
    """Return which way is better."""
    return "lower is better" if curve.lower_is_better else "higher is better"


def mean_of(metric: pb.Metric) -> float:
    """Return the mean; NaN of no samples, as only a foreign server would have it."""
    return metric.sum / metric.count if metric.count else math.nan


def written(name: str, value: float) -> str:
    """Return a mean of the metric `name` as text: an accuracy in percent, any other with four digits."""
    return f"{value:.2%}" if is_fraction(name) else f"{value:#.4g}"


def difference(name: str, run: float, baseline: float) -> str:
    """Return by how much a run differs from its baseline: an accuracy in points of a percent."""
    return f"{100 * (run - baseline):+.2f} points" if is_fraction(name) else f"{run - baseline:+#.4g}"
