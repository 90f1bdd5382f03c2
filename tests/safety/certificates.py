"""Kits of certificates for tests, right ones and wrong ones."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gradwire_common.identity import kits
from gradwire_common.identity.authority import Authority, Issued
from gradwire_common.identity.files import CA, CERTIFICATE, KEY
from gradwire_common.identity.names import Identity, Role


def now() -> datetime:
    return datetime.now(UTC)


def identity(text: str) -> Identity:
    """Return the identity of "ROLE NAME"."""
    return Identity.parse(*text.split())


@dataclass(frozen=True)
class Certs:
    """A folder that `certs init` made, for servers on this machine."""

    folder: Path

    @classmethod
    def init(cls, folder: Path, *who: str) -> "Certs":
        """Make one, with kits of `who`, each "ROLE NAME"."""
        kits.init(folder, ["localhost"], now())
        made = cls(folder)
        for each in who:
            kits.issue(folder, identity(each), now())
        return made

    @property
    def server(self) -> Path:
        return self.folder / kits.SERVER_FOLDER

    @property
    def authority(self) -> Authority:
        return kits.authority_of(self.folder)

    def kit(self, name: str) -> Path:
        return self.folder / name

    def wrong(self, name: str, issued: Issued, authority: Authority | None = None) -> Path:
        """Write a kit with what `certs issue` would not make."""
        folder = self.folder / name
        folder.mkdir()
        (folder / CA).write_bytes((authority or self.authority).pem.certificate)
        (folder / CERTIFICATE).write_bytes(issued.certificate)
        (folder / KEY).write_bytes(issued.key)
        (folder / KEY).chmod(0o600)
        return folder

    def expired(self, name: str, role: Role = Role.WORKER) -> Path:
        """Return a kit whose certificate expired an hour ago."""
        then = now() - timedelta(days=1, hours=1)
        return self.wrong(f"{name}-expired", self.authority.issue_client(Identity(role, name), then, 1))

    def not_yet_valid(self, name: str, role: Role = Role.WORKER) -> Path:
        """Return a kit whose certificate is valid from tomorrow on."""
        then = now() + timedelta(days=1)
        return self.wrong(f"{name}-not-yet", self.authority.issue_client(Identity(role, name), then, 1))

    def of_another_authority(self, name: str, role: Role = Role.WORKER) -> Path:
        """Return a kit that trusts our authority, with a certificate of another that nobody knows."""
        other = Authority.init(now())
        return self.wrong(f"{name}-stranger", other.issue_client(Identity(role, name), now()))

    def of_a_server(self, name: str) -> Path:
        """Return a kit for callers with the certificate of a server."""
        return self.wrong(f"{name}-server", self.authority.issue_server(["localhost"], now()))
