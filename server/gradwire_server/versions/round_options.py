"""What the optimizer's options are at the step of a round: what workers sent with their pushes, or a new setting."""

import logging
from collections.abc import Sequence

from gradwire_common.step_options import Groups, changed
from gradwire_server.intake.contribution import Contribution
from gradwire_server.versions.training import Training

log = logging.getLogger("gradwire.server")


class RoundOptions:
    """Decides for one round after the other, and says which workers disagree whenever those are others than before.

    Attributes:
        pending: set at the next step, whatever workers send; () for nothing.
    """

    def __init__(self) -> None:
        self.pending: Groups = ()
        self._disagreeing: frozenset[str] = frozenset()

    def decide(self, training: Training, round_: int, pushes: Sequence[tuple[int, Contribution]]) -> Groups:
        """Return what is to be set before the step of a round; () for nothing. The lowest slot that has a say wins."""
        if self.pending:
            pending, self.pending = self.pending, ()
            return pending
        said = sorted(((slot, each) for slot, each in pushes if each.options), key=lambda push: push[0])
        if not said:
            return ()
        self._compare(training, round_, said)
        return training.decidable(said[0][1].options)

    def _compare(self, training: Training, round_: int, said: Sequence[tuple[int, Contribution]]) -> None:
        slot, first = said[0]
        others = [(other, each) for other, each in said if each.options != first.options]
        disagreeing = frozenset(each.worker for _, each in others)
        if disagreeing and disagreeing != self._disagreeing:
            told = "; ".join(
                f"worker {each.worker} (slot {other}) {_differences(training.initial_options, first, each)}"
                for other, each in others
            )
            log.warning(
                "round %d: workers set different options: %s; those of the lowest slot count, %d of worker %s",
                round_,
                told,
                slot,
                first.worker,
            )
        self._disagreeing = disagreeing


def _differences(initial: Groups, first: Contribution, other: Contribution) -> str:
    """Say what `other` has, and what the first: the first option in each group that differs."""
    lines = []
    for index, (want, got) in enumerate(
        zip(changed(initial, first.options), changed(initial, other.options), strict=True)
    ):
        name = next((name for name in sorted(want, key=lambda each: each != "lr") if got.get(name) != want[name]), None)
        if name is not None:
            lines.append(f"has {name} {got.get(name)} in group {index}, slot's {want[name]}")
    return ", ".join(lines)
