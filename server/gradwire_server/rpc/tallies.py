"""How often pushes did not count, or not wholly, and why."""

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from gradwire_common.errors import DataError, GradwireError
from gradwire_server.aggregation.rule import Treatment
from gradwire_server.rounds.schedule import Verdict

MAX_TREATED = 4096  # workers whose treatment is remembered, those of late


@dataclass
class Treated:
    """What the aggregation made of one worker's pushes.

    Attributes:
        clipped: pushes that were clipped.
        scales: the sum of what they were multiplied by.
        outlying: pushes that were far from what their round came to.
    """

    clipped: int = 0
    scales: float = 0.0
    outlying: int = 0

    def include(self, treatment: Treatment) -> None:
        """Count one more push."""
        if treatment.scale != 1:
            self.clipped += 1
            self.scales += treatment.scale
        self.outlying += treatment.outlying


@dataclass
class Tallies:
    """Counts since the server began.

    Attributes:
        verdicts: receipts, by what became of the push.
        damaged: pushes refused because their bytes or numbers cannot be right, by kind of error.
        treated: workers whose pushes the aggregation clipped, or found far out.
    """

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    damaged: Counter[str] = field(default_factory=Counter)
    treated: OrderedDict[str, Treated] = field(default_factory=OrderedDict)

    def refused(self, error: GradwireError) -> None:
        """Count a push that was refused."""
        if isinstance(error, DataError):
            self.damaged[type(error).__name__] += 1

    def close_round(self, treated: Mapping[str, Treatment]) -> None:
        """Count what the aggregation of a round made of workers' pushes."""
        for worker, treatment in treated.items():
            self.treated.setdefault(worker, Treated()).include(treatment)
            self.treated.move_to_end(worker)
        while len(self.treated) > MAX_TREATED:
            self.treated.popitem(last=False)
