"""How often pushes did not count, and why."""

from collections import Counter
from dataclasses import dataclass, field

from gradwire_common.errors import DataError, GradwireError
from gradwire_server.rounds.schedule import Verdict


@dataclass
class Tallies:
    """Counts since the server began.

    Attributes:
        verdicts: receipts, by what became of the push.
        damaged: pushes refused because their bytes or numbers cannot be right, by kind of error.
    """

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    damaged: Counter[str] = field(default_factory=Counter)

    def refused(self, error: GradwireError) -> None:
        """Count a push that was refused."""
        if isinstance(error, DataError):
            self.damaged[type(error).__name__] += 1
