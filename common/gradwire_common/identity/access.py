"""How a client shows a server who it is, and knows the server: by a kit of certificates, by a token, or not at all."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gradwire_common.errors import IdentityError
from gradwire_common.identity.names import Identity, Role
from gradwire_common.identity.tokens import Token

if TYPE_CHECKING:
    from gradwire_common.identity.credentials import Credentials

log = logging.getLogger("gradwire")

CERTS_VARIABLE = "GRADWIRE_CERTS"
TOKEN_VARIABLE = "GRADWIRE_TOKEN_FILE"  # noqa: S105 - a name
SOON = timedelta(days=3)  # before its certificate expires a client says so


@dataclass(frozen=True)
class Access:
    """How a client shows who it is.

    Attributes:
        certs: its kit; None for a server that asks for none. With a token, ca.pem of it alone is of use.
        token_file: holds its token; None for a server that asks for none.
    """

    certs: Path | None = None
    token_file: Path | None = None

    @cached_property
    def token(self) -> Token | None:
        """The token, read once; None without one. Raises IdentityError where the file is wrong."""
        if self.token_file is None:
            return None
        token = Token.read(self.token_file)
        if (mode := self.token_file.stat().st_mode & 0o777) & 0o077:
            log.warning("%s: others can read it (mode %04o); want 0600", self.token_file, mode)
        return token

    @cached_property
    def credentials(self) -> "Credentials | None":
        """The files of the kit, checked once; None without one. Raises IdentityError where one is wrong."""
        if self.certs is None or self.token_file is not None:
            return None
        # imported here: cryptography is not loaded where there is no kit
        from gradwire_common.identity.credentials import Credentials, Usage, loose_key

        now = datetime.now(UTC)
        read = Credentials.read(self.certs, Usage.CLIENT, now)
        if loose := loose_key(self.certs):
            log.warning("%s", loose)
        if read.expires - now < SOON:
            log.warning("%s: the certificate expires at %s UTC", self.certs, f"{read.expires:%Y-%m-%d %H:%M}")
        return read

    @property
    def expired(self) -> bool:
        """Whether the certificate has expired since it was read."""
        return self.credentials is not None and self.credentials.expires < datetime.now(UTC)

    @property
    def identity(self) -> Identity | None:
        """Who the kit or token is of; None without either. Raises IdentityError where a file is wrong."""
        if self.token is not None:
            return self.token.identity
        return None if self.credentials is None else self.credentials.identity

    def worker_id(self, wanted: str) -> str:
        """Return the id of the worker that the kit or token is of, `wanted` without either.

        Raises:
            IdentityError: it is of another worker, or of no worker at all.
        """
        identity, of = self.identity, self.token_file or self.certs
        if identity is None:
            return wanted
        if identity.role is not Role.WORKER:
            raise IdentityError(f"{of}: it is of {identity}, want a worker's")
        if wanted and wanted != identity.name:
            raise IdentityError(f"worker_id: got {wanted!r} together with {of} of {identity}, want one of the two")
        return identity.name


NO_ACCESS = Access()
