"""The one command that starts a worker of a server elsewhere."""

import shlex
import socket
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from gradwire_common.identity.credentials import Credentials, Usage
from gradwire_common.settings.config import ServedRun
from gradwire_common.transport.address import Address

ANY = ("0.0.0.0", "::")  # noqa: S104 - compared, not listened on
FAR = (
    "192.0.2.1",
    9,
)  # of no network (RFC 5737): to learn by which address this machine would go there; nothing is sent
KIT = "KIT"  # stands for the folder that `gradwire certs issue worker NAME` made


def invitation(settings: ServedRun, address: Address) -> str:
    """Return the command of a worker of the server that listens at `address`."""
    host = address if address.path else Address(_host_of(settings.certs, address.host), address.port)
    words = ["gradwire", "worker", "--server", str(host)]
    if settings.certs is not None:
        words += ["--certs", KIT]
    if settings.tokens is not None:
        words += ["--token-file", "NAME.token"]
    return shlex.join(words)


def _host_of(certs: Path | None, host: str) -> str:
    """Return how workers call a host: as its certificate says, or by an address that others can reach."""
    if certs is not None:
        names = certified_names(certs)
        return host if host in names or not names else names[0]
    return own_address() if host in ANY else host


def certified_names(kit: Path) -> list[str]:
    """Return the names, then the numbers, that the server of a kit is called by; those of its own machine last."""
    pem = Credentials.read(kit, Usage.SERVER, datetime.now(UTC)).certificate
    names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    hosts = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    return sorted(hosts, key=lambda host: Address(host, 0).loopback)


def own_address() -> str:
    """Return the number by which this machine goes to others; its name where there is no way to others."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(FAR)
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
