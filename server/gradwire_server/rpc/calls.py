"""What the calls of a session have in common: who calls, and what their bytes are charged to."""

from typing import Any

from gradwire_common.transport.channel import CALL_BYTES, wire_bytes
from gradwire_server.rounds.member import Member
from gradwire_server.rpc.callers import Callers
from gradwire_server.run.run import Run


class Calls:
    """A family of calls to the server of a run.

    Attributes:
        callers: who may call.

    Args:
        run: that is served.
        callers: who may call.
    """

    def __init__(self, run: Run, callers: Callers):
        self._run = run
        self.callers = callers

    def _hear(self, session: str) -> Member:
        """Return the member that speaks. Raises what `Callers.check_session` and `Membership.hear` do."""
        membership = self._run.membership
        if membership.members.of_session(session) is not None:  # else `hear` says what has become of it
            self.callers.check_session(session)
        return membership.hear(session)

    def _charge(self, member: Member, request: Any, reply: Any, round_: int) -> None:
        """Charge a small call that has passed already."""
        self._charge_up(member, request, round_)
        self._charge_down(member, reply, round_)

    def _charge_up(self, member: Member, request: Any, round_: int) -> int:
        n_bytes = wire_bytes(request.ByteSize()) + CALL_BYTES
        self._run.gates_of(member).up.charge(n_bytes)
        self._run.books.records.sent_up(round_, n_bytes)
        return n_bytes

    def _charge_down(self, member: Member, reply: Any, round_: int) -> None:
        n_bytes = wire_bytes(reply.ByteSize())
        self._run.gates_of(member).down.charge(n_bytes)
        self._run.books.records.sent_reply(round_, n_bytes)
