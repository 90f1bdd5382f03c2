"""Evaluations: what workers measured on their parts of the test data, added up by version."""

from dataclasses import dataclass

from gradwire_common.errors import UsageError


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Test samples looked at with the weights of one version, how many were right, and their mean loss."""

    version: int
    count: int
    accuracy: float
    loss: float


@dataclass
class _Sum:
    expected: frozenset[int]
    reported: set[int]
    count: int = 0
    correct: int = 0
    loss_sum: float = 0.0

    def total(self, version: int) -> Evaluation:
        return Evaluation(version, self.count, self.correct / self.count, self.loss_sum / self.count)


class Evaluations:
    """Adds up reports. A version's evaluation is complete when every slot that was expected to report has, or is gone.

    Args:
        every: rounds between evaluations; 0 for none.
        last: the version that the run ends at, which is evaluated too; 0 for a run without end.
    """

    def __init__(self, every: int, last: int):
        self.every = every
        self.last = last
        self._sums: dict[int, _Sum] = {}

    def is_due(self, version: int) -> bool:
        """Whether workers evaluate `version`."""
        return self.every > 0 and version > 0 and (version % self.every == 0 or version == self.last)

    def expect(self, version: int, slots: frozenset[int]) -> None:
        """Expect reports of `slots` on a version that is due."""
        if self.is_due(version):
            self._sums[version] = _Sum(slots, set())

    def report(self, version: int, slot: int, count: int, correct: int, loss_sum: float) -> None:
        """Add what a slot measured; a second report of the same slot changes nothing.

        What was measured of a version that is not due stands for the last one that was: in the asynchronous mode a
        worker may pass that by.

        Raises:
            UsageError: the numbers contradict each other.
        """
        if correct > count:
            raise UsageError(f"evaluation of version {version}: got {correct} right of {count}, want at most as many")
        total = self._sums.get(version if self.is_due(version) else version - version % max(1, self.every))
        if total is None or slot in total.reported:
            return
        total.reported.add(slot)
        total.count += count
        total.correct += correct
        total.loss_sum += loss_sum

    def take_complete(self, alive: set[int], *, ended: bool = False) -> list[Evaluation]:
        """Return, oldest first, the evaluations that are complete, each once; all that have reports where `ended`."""
        newest = max((version for version, total in self._sums.items() if total.reported), default=0)
        done = [
            version
            for version, total in sorted(self._sums.items())
            if ended or version < newest or total.expected & alive <= total.reported
        ]
        totals = [(version, self._sums.pop(version)) for version in done]
        return [total.total(version) for version, total in totals if total.count]
