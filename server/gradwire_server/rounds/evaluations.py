"""Evaluations: what workers measured on their parts of the test data, merged by version."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from gradwire_common.metrics import MAX_METRICS, Metric, merge


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The metrics of the weights of one version, over all test samples that workers looked at."""

    version: int
    metrics: dict[str, Metric]


@dataclass
class _Reports:
    """What each slot reported of one version."""

    expected: frozenset[int]
    of_slot: dict[int, dict[str, Metric]] = field(default_factory=dict)

    def merged(self, version: int) -> Evaluation:
        """Merge the reports; the names that most slots have come first, then in the order of the lowest slot.

        Names beyond MAX_METRICS, which only workers with different tasks can have, are left out.
        """
        parts: defaultdict[str, list[Metric]] = defaultdict(list)
        for slot in sorted(self.of_slot):
            for name, metric in self.of_slot[slot].items():
                parts[name].append(metric)
        names = sorted(parts, key=lambda name: -len(parts[name]))[:MAX_METRICS]
        merged = {name: merge(parts[name]) for name in names}
        return Evaluation(
            version, {name: Metric(each.sum, each.count, each.lower_is_better) for name, each in merged.items()}
        )


class Evaluations:
    """Collects reports. A version's evaluation is complete when every slot that was expected to report has, or is gone.

    Args:
        every: rounds between evaluations; 0 for none.
        last: the version that the run ends at, which is evaluated too; 0 for a run without end.
    """

    def __init__(self, every: int, last: int):
        self.every = every
        self.last = last
        self._reports: dict[int, _Reports] = {}

    def is_due(self, version: int) -> bool:
        """Whether workers evaluate `version`."""
        return self.every > 0 and version > 0 and (version % self.every == 0 or version == self.last)

    def expect(self, version: int, slots: frozenset[int]) -> None:
        """Expect reports of `slots` on a version that is due."""
        if self.is_due(version):
            self._reports[version] = _Reports(slots)

    def report(self, version: int, slot: int, metrics: Mapping[str, Metric]) -> None:
        """Keep what a slot measured; a second report of the same slot changes nothing.

        What was measured of a version that is not due stands for the last one that was: in the asynchronous mode a
        worker may pass that by.

        Args:
            version: of the weights.
            slot: of the worker.
            metrics: as `checked_metrics` returns them.
        """
        reports = self._reports.get(version if self.is_due(version) else version - version % max(1, self.every))
        if reports is not None:
            reports.of_slot.setdefault(slot, dict(metrics))

    def take_complete(self, alive: set[int], *, ended: bool = False) -> list[Evaluation]:
        """Return, oldest first, the evaluations that are complete, each once; all that have reports where `ended`."""
        newest = max((version for version, reports in self._reports.items() if reports.of_slot), default=0)
        done = [
            version
            for version, reports in sorted(self._reports.items())
            if ended or version < newest or reports.expected & alive <= reports.of_slot.keys()
        ]
        complete = [(version, self._reports.pop(version)) for version in done]
        return [reports.merged(version) for version, reports in complete if reports.of_slot]
