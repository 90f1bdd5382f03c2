"""Roles and names, and the URI that a certificate has them in: spiffe://gradwire/ROLE/NAME."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from gradwire_common.errors import ConfigError, IdentityError
from gradwire_common.settings.names import check_name

_PREFIX = "spiffe://gradwire/"
_SHOWN = 200  # characters of a URI that a message repeats


class Role(StrEnum):
    """What a peer is there for; rpc/rights.py of the server says what each may do."""

    WORKER = "worker"
    OBSERVER = "observer"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Identity:
    """A role and a name; a worker's name is its worker id."""

    role: Role
    name: str

    @classmethod
    def parse(cls, role: str, name: str) -> Self:
        """Return the identity of texts.

        Raises:
            ConfigError: there is no such role, or the name is none.
        """
        if role not in set(Role):
            raise ConfigError(f"role: got {role!r}, want one of {', '.join(Role)}")
        return cls(Role(role), check_name("name", name))

    @classmethod
    def of_uri(cls, uri: str) -> Self:
        """Return the identity that a URI has. Raises IdentityError unless it has one."""
        role, _, name = uri.removeprefix(_PREFIX).partition("/")
        try:
            if not uri.startswith(_PREFIX):
                raise ConfigError("it is of another trust domain")
            return cls.parse(role, name)
        except ConfigError as error:
            raise IdentityError(f"got the URI {uri[:_SHOWN]!r}, want {_PREFIX}ROLE/NAME: {error}") from None

    @property
    def uri(self) -> str:
        """The URI of this identity."""
        return f"{_PREFIX}{self.role}/{self.name}"

    def __str__(self) -> str:
        return f"{self.role} {self.name}"
