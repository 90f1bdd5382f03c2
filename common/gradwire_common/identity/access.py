"""How a client shows a server who it is, and knows the server: by a kit of certificates, or not at all."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gradwire_common.errors import IdentityError
from gradwire_common.identity.names import Identity, Role

if TYPE_CHECKING:
    from gradwire_common.identity.credentials import Credentials

log = logging.getLogger("gradwire")

CERTS_VARIABLE = "GRADWIRE_CERTS"
SOON = timedelta(days=3)  # before its certificate expires a client says so


@dataclass(frozen=True)
class Access:
    """How a client shows who it is.

    Attributes:
        certs: its kit; None for a server that asks for none.
    """

    certs: Path | None = None

    @cached_property
    def credentials(self) -> "Credentials | None":
        """The files of the kit, checked once; None without one. Raises IdentityError where one is wrong."""
        if self.certs is None:
            return None
        from gradwire_common.identity.credentials import (
            Credentials,
            Usage,
            loose_key,
        )  # who has no kit loads none of it

        now = datetime.now(UTC)
        read = Credentials.read(self.certs, Usage.CLIENT, now)
        if loose := loose_key(self.certs):
            log.warning("%s", loose)
        if read.expires - now < SOON:
            log.warning("%s: the certificate expires at %s UTC", self.certs, f"{read.expires:%Y-%m-%d %H:%M}")
        return read

    @property
    def identity(self) -> Identity | None:
        """Who the kit is of; None without one. Raises IdentityError where a file of it is wrong."""
        return None if self.credentials is None else self.credentials.identity

    def worker_id(self, wanted: str) -> str:
        """Return the id of the worker that the kit is of, `wanted` without one.

        Raises:
            IdentityError: the kit is of another worker, or of no worker at all.
        """
        identity = self.identity
        if identity is None:
            return wanted
        if identity.role is not Role.WORKER:
            raise IdentityError(f"{self.certs}: it is the kit of {identity}, want a worker's")
        if wanted and wanted != identity.name:
            raise IdentityError(
                f"worker_id: got {wanted!r} and the kit {self.certs} of {identity}, want one of the two"
            )
        return identity.name


NO_ACCESS = Access()
