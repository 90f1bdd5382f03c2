"""Workers that may not take part: those that an admin removed, and those in quarantine, whose pushes are refused."""

import logging
from collections.abc import Collection

from gradwire_common.errors import DataError, GradwireError, JoinError, RightsError, UsageError
from gradwire_server.rounds.member import Member
from gradwire_server.rounds.members import Members
from gradwire_server.rounds.schedule import Schedule

log = logging.getLogger("gradwire.server")


class Barred:
    """Who may not join, and whose pushes are refused.

    Args:
        members: the members of the run.
        schedule: is told whom no round waits for.
        most_refused: pushes in a row after whose refusal a worker is in quarantine; 0 for any number.

    Attributes:
        removed: workers that may not join, by id, with the reason of each.
    """

    def __init__(self, members: Members, schedule: Schedule, most_refused: int):
        self._members = members
        self._schedule = schedule
        self._most_refused = most_refused
        self.removed: dict[str, str] = {}

    @property
    def names(self) -> list[str]:
        """The ids of all of them."""
        return sorted({*self.removed, *(member.worker_id for member in self._members if member.quarantined)})

    def check_may_join(self, worker_id: str) -> None:
        """Raise RightsError where an admin removed the worker."""
        if (reason := self.removed.get(worker_id)) is not None:
            raise RightsError(f"worker {worker_id} was removed {reason}; want an admin to admit it again")

    def check_may_push(self, member: Member) -> None:
        """Raise UsageError where `member` is quarantined."""
        if member.quarantined:
            raise UsageError(
                f"worker {member.worker_id} is quarantined until an admin admits it or the server is started again: "
                f"{member.refused} of its pushes were refused, the last with: {member.reason}"
            )

    def refused(self, member: Member, error: GradwireError) -> bool:
        """Note that a push of `member` was refused with `error`; return whether it is quarantined by that.

        What trying again may cure says nothing of a worker, nor does the end of its session or of the run.
        """
        if member.quarantined or isinstance(error, JoinError) or not isinstance(error, DataError | UsageError):
            return False
        member.refuse(str(error))
        log.warning("worker %s: a push is refused: %s", member.worker_id, member.reason)
        if not 0 < self._most_refused <= member.refused_in_a_row:
            return False
        self._quarantine(member)
        return True

    def drop(self, worker_ids: Collection[str], reason: str) -> None:
        """Note that the pushes of a round count as zero; where they were one worker's, it is quarantined."""
        log.error("%s; the pushes of %s are dropped and count as zero", reason, ", ".join(worker_ids))
        for member in self._members:
            if member.worker_id in worker_ids:
                member.refuse(reason)
                if len(worker_ids) == 1:
                    self._quarantine(member)

    def admit(self, worker_id: str) -> bool:
        """Let a worker that was removed join again, and one that is quarantined push; return whether it was either."""
        member = self._members.of(worker_id)
        quarantined = member is not None and member.quarantined
        if member is not None:
            member.quarantined, member.refused_in_a_row = False, 0
        return self.removed.pop(worker_id, None) is not None or quarantined

    def _quarantine(self, member: Member) -> None:
        member.quarantined = True
        self._schedule.dismiss(member.slot)
        log.error(
            "worker %s is quarantined: no round waits for it, and its pushes are refused; the last one: %s",
            *(member.worker_id, member.reason),
        )
