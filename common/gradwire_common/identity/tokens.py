"""Bearer tokens, for servers behind a proxy that ends TLS: a file for each caller, the hashes of all at the server.

w1.token        worker w1 TOKEN                at the caller, which sends it with every call
tokens.txt      worker w1 SHA-256 of TOKEN     at the server, in the form of allowed.txt
"""

import hashlib
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from gradwire_common.errors import ConfigError, IdentityError
from gradwire_common.identity.allowed import parse_allowed, write_allowed
from gradwire_common.identity.files import read, write_private
from gradwire_common.identity.names import Identity

TOKEN_BYTES = 32  # of randomness: hashes need no salt
METADATA_KEY = "authorization"
SCHEME = "Bearer "


def token_hash(token: str) -> str:
    """Return the SHA-256 of a token in hexadecimal digits."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


@dataclass(frozen=True, slots=True)
class Token:
    """A caller's token, which no text of it shows."""

    identity: Identity
    secret: str = field(repr=False)

    @classmethod
    def read(cls, file: Path) -> Self:
        """Return the token in a file. Raises IdentityError if there is none."""
        parts = read(file).decode("utf-8", "replace").split()
        if len(parts) != 3 or not parts[2].isascii():
            raise IdentityError(f"{file}: got {len(parts)} words, want a role, a name and a token")
        try:
            return cls(Identity.parse(*parts[:2]), parts[2])
        except ConfigError as error:
            raise IdentityError(f"{file}: {error}") from None

    @property
    def metadata(self) -> tuple[str, str]:
        """What goes with every call."""
        return METADATA_KEY, f"{SCHEME}{self.secret}"


def issue_token(identity: Identity, file: Path, tokens: Path) -> None:
    """Write a new token to `file`, and its hash to the server's `tokens`; earlier ones of the same name stay good.

    Raises:
        IdentityError: `file` is there already, `tokens` is wrong, or one cannot be written.
    """
    known = parse_allowed(tokens) if tokens.exists() else {}
    secret = secrets.token_urlsafe(TOKEN_BYTES)
    write_private(file, f"{identity} {secret}\n".encode())
    known[identity] = known.get(identity, frozenset()) | {token_hash(secret)}
    write_allowed(tokens, known)
