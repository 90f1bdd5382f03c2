"""A push whose round has not been waited for yet."""

from dataclasses import dataclass
from typing import Any

from gradwire_worker.session.pending import PendingPush
from gradwire_worker.session.sending import Sending


@dataclass
class Flight:
    """A push on its way, and what is known of its step.

    Attributes:
        push: the push.
        known: fields of the step's report.
        sending: None until it is being sent.
        received: whether its receipt has come.
        version: that the step continues with, once the receipt has told it.
    """

    push: PendingPush
    known: dict[str, Any]
    sending: Sending | None = None
    received: bool = False
    version: int = 0

    @property
    def round(self) -> int:
        """The round that it is for."""
        return self.push.round
