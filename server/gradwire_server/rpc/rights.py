"""Which role may make which call: one table, in which every call of the contract has a line."""

from collections.abc import Mapping

from gradwire_common.errors import RightsError
from gradwire_common.identity.names import Identity, Role

_WORKERS = frozenset({Role.WORKER})
_ADMINS = frozenset({Role.ADMIN})

RIGHTS: Mapping[str, frozenset[Role]] = {
    "Settings": _WORKERS,
    "Join": _WORKERS,
    "Introduce": _WORKERS,
    "Push": _WORKERS,
    "Staged": _WORKERS,
    "Watch": _WORKERS,
    "Heartbeat": _WORKERS,
    "Turn": _WORKERS,
    "Report": _WORKERS,
    "Leave": _WORKERS,
    "Status": frozenset(Role),
    "Limit": _ADMINS,
    "Pause": _ADMINS,
    "Checkpoint": _ADMINS,
    "Remove": _ADMINS,
    "Admit": _ADMINS,
}


def check_may(identity: Identity, call: str) -> None:
    """Raise RightsError unless a caller of this role may make the call."""
    roles = RIGHTS[call]
    if identity.role not in roles:
        raise RightsError(f"{call}: got a call of {identity}, want one of a role that may: {', '.join(sorted(roles))}")
