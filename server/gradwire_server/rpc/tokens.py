"""Callers known by a token in the metadata of every call: for a server behind a proxy that ends TLS."""

import math
from pathlib import Path
from typing import Any

from gradwire_common.errors import IdentityError
from gradwire_common.identity.allowed import Allowed
from gradwire_common.identity.tokens import METADATA_KEY, SCHEME, token_hash
from gradwire_server.rpc.callers import Caller


class Tokens:
    """Callers by their tokens, of which the server knows hashes alone.

    Args:
        file: of the hashes, which is read again when it changes.

    Raises:
        IdentityError: it cannot be read, or is wrong.
    """

    def __init__(self, file: Path):
        self._allowed = Allowed(file, required=True)

    def caller_of(self, context: Any) -> Caller:
        """Return who makes a call. Raises IdentityError where it has no token, or one that nobody knows."""
        given = next((value for key, value in context.invocation_metadata() or () if key == METADATA_KEY), "")
        if not isinstance(given, str) or not given.startswith(SCHEME):
            raise IdentityError("got a call without a token, want one; give --token-file FILE")
        hashed = token_hash(given.removeprefix(SCHEME))
        identity = self._allowed.owner_of(hashed)
        if identity is None:
            raise IdentityError("got a token that is not known here, or no more; want another")
        return Caller(identity, hashed, math.inf)

    def check(self, caller: Caller, now: float) -> None:  # noqa: ARG002 - tokens do not expire
        """Raise IdentityError unless the token of `caller` is still known."""
        if self._allowed.owner_of(caller.credential) != caller.identity:
            raise IdentityError(f"the token of {caller.identity} is good no more; want another")

    def look(self) -> None:
        """Read the hashes again, if they have changed."""
        self._allowed.look()
