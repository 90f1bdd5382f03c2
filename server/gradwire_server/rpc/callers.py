"""Who makes a call: found in what its connection or its metadata proves, never in its message."""

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from gradwire_common.errors import IdentityError, RightsError
from gradwire_common.foreign_text import printable
from gradwire_common.identity.names import Identity
from gradwire_common.settings.names import MAX_NAME
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.rpc.refusals import Refusals
from gradwire_server.rpc.rights import check_may


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and by what.

    Attributes:
        identity: role and name.
        credential: SHA-256 in hexadecimal digits of the certificate or token.
        expires: when the credential does, in seconds since 1970.
    """

    identity: Identity
    credential: str
    expires: float


class Proofs(Protocol):
    """A kind of proof of who calls: certificates, or tokens."""

    def caller_of(self, context: Any) -> Caller:
        """Return who makes a call. Raises IdentityError where that cannot be told, or nobody knows them."""

    def check(self, caller: Caller, now: float) -> None:
        """Raise IdentityError unless `caller` may call at `now`, in seconds since 1970."""

    def look(self) -> None:
        """Read files again that have changed."""


class Callers:
    """Holds every call against its caller's rights, and every session against the identity that it was given to.

    Without `proofs` there are no identities: everybody may do everything. `check` comes first in every call; the others
    are asked in the course of it, of the same caller.

    Attributes:
        refusals: tell the log of calls that their callers may not make.

    Args:
        proofs: tell who calls.
        clock: seconds since 1970.
    """

    def __init__(self, proofs: Proofs | None = None, clock: Callable[[], float] = time.time):
        self._proofs = proofs
        self._clock = clock
        self.refusals = Refusals()
        self._caller: ContextVar[Caller | None] = ContextVar("caller", default=None)  # each call is a task of its own
        self._sessions: dict[str, Caller] = {}  # those that `given` told of

    def check(self, context: Any, call: str) -> None:
        """Find out who calls. Raises IdentityError where nobody is known by that, RightsError where they may not."""
        if self._proofs is None:
            return
        caller = self._proofs.caller_of(context)
        self._proofs.check(caller, self._clock())
        check_may(caller.identity, call)
        self._caller.set(caller)

    def check_join(self, request: pb.JoinRequest) -> None:
        """Raise RightsError unless the caller may join as it says; its identity is its claim then."""
        caller = self._caller.get()
        if caller is None:
            return
        if caller.identity.name != request.worker_id:
            raise RightsError(
                f"worker id: got {printable(request.worker_id, MAX_NAME)!r} of {caller.identity}, want its own name"
            )
        request.claim = caller.identity.uri.encode()

    def check_session(self, session: str) -> None:
        """Raise RightsError where `session` was given to somebody else."""
        caller, owner = self._caller.get(), self._sessions.get(session)
        if caller is not None and owner is not None and caller.identity != owner.identity:
            raise RightsError(f"session: got another worker's of {caller.identity}, want the one that it was given")

    def given(self, session: str) -> None:
        """Note that the caller was given `session`."""
        if (caller := self._caller.get()) is not None:
            self._sessions[session] = caller

    @property
    def name(self) -> str:
        """Who calls, for the log."""
        caller = self._caller.get()
        return "somebody" if caller is None else str(caller.identity)

    def barred(self, is_current: Callable[[str], bool]) -> dict[str, str]:
        """Return the sessions whose owners may call no more, with the reason of each; forget those that have ended.

        Args:
            is_current: tells whether a session has not ended.
        """
        if self._proofs is None:
            return {}
        self._proofs.look()
        self._sessions = {session: caller for session, caller in self._sessions.items() if is_current(session)}
        now, barred = self._clock(), {}
        for session, caller in self._sessions.items():
            try:
                self._proofs.check(caller, now)
            except IdentityError as error:
                barred[session] = str(error)
        return barred
