"""Which worker is asked for the weights that a run begins with."""

from gradwire_server.rounds.member import Member
from gradwire_server.rounds.members import Members
from gradwire_server.rounds.schedule import Schedule


class FirstWeights:
    """Asks one worker for them, the first that can be asked, as long as it is alive.

    Args:
        members: the members of the run.
        schedule: knows whether there are weights.
    """

    def __init__(self, members: Members, schedule: Schedule):
        self._members = members
        self._schedule = schedule
        self._asked = ""

    def wanted_of(self, member: Member) -> bool:
        """Say whether `member` is the one to push initial weights."""
        if self._schedule.version is not None or member.quarantined:
            return False
        if self._asked not in {each.worker_id for each in self._members.alive if not each.quarantined}:
            self._asked = member.worker_id
        return self.were_asked_of(member)

    def were_asked_of(self, member: Member) -> bool:
        """Whether `member` is the one that was last asked."""
        return self._asked == member.worker_id
