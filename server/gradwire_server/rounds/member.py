"""What is known of one worker."""

import math
from dataclasses import dataclass, field

from gradwire_common.foreign_text import MAX_REASON, printable
from gradwire_server.rounds.attendance import Attendance


@dataclass
class Member:
    """A worker of the run.

    Attributes:
        slot: its place in the order of sums.
        session: names its newest membership.
        claim: what a join under its id must have while it is alive; empty where any may take its place.
        deadline: it is dead unless heard of by then.
        interval: seconds between its heartbeats, as it was told.
        alive: neither left nor dead.
        gone: why it is not alive, or soon may not be.
        finished: it left because it has done all that it wanted to.
        sent: the newest version that it has been sent; -1 for none.
        last_round: the newest round that a push of it counted in.
        budget, spent: bytes on the wire that its last push was allowed, and took.
        samples, pushes: of its pushes that counted, as long as it has been known.
        loss: mean training loss of the last of them; NaN where it is not known.
        refused: pushes that were refused, as long as it has been known.
        refused_in_a_row: since one counted.
        reason: why the last of them was refused.
        quarantined: its pushes are refused, and nobody waits for it.
        attendance: whether rounds wait for it.
    """

    worker_id: str
    slot: int
    session: str
    deadline: float
    interval: float
    alive: bool = True
    gone: str = ""
    finished: bool = False
    claim: bytes = field(default=b"", repr=False)
    sent: int = -1
    last_round: int = 0
    budget: int = 0
    spent: int = 0
    samples: int = 0
    pushes: int = 0
    loss: float = math.nan
    refused: int = 0
    refused_in_a_row: int = 0
    reason: str = ""
    quarantined: bool = False
    attendance: Attendance = field(default_factory=Attendance)

    def refuse(self, reason: str) -> None:
        """Note that a push of it was refused."""
        self.refused += 1
        self.refused_in_a_row += 1
        self.reason = printable(reason, MAX_REASON)
