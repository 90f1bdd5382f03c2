"""`gradwire certs check`: what is wrong with a kit, or whose it is."""

from datetime import datetime
from pathlib import Path

from cryptography import x509

from gradwire_common.errors import IdentityError, UnavailableError
from gradwire_common.identity.credentials import Credentials, Usage, loose_key, usages_of
from gradwire_common.identity.files import CERTIFICATE, read
from gradwire_common.identity.handshake import refusal
from gradwire_common.transport.address import parse_address
from gradwire_common.transport.reach import check_known
from gradwire_common.units import named


def check_kit(folder: Path, address: str | None, host: str | None, now: datetime) -> str:
    """Return a line about the kit in `folder`, once a handshake with the server at `address`, if given, has passed.

    Raises:
        IdentityError: a file is wrong, or the server refuses the kit; says why.
        UsageError: there can be no server at `address`.
        UnavailableError: it cannot be reached.
    """
    credentials = Credentials.read(folder, _usage_of(folder), now, host)
    if loose := loose_key(folder):
        raise IdentityError(loose)
    line = f"{folder}: {credentials.identity or 'a server'}, valid until {credentials.expires:%Y-%m-%d %H:%M} UTC"
    if address is None:
        return line
    server = named("address", parse_address, address)
    check_known(server)
    try:
        reason = refusal(server, folder)
    except OSError as error:
        raise UnavailableError(f"server {server} cannot be reached: {error.strerror or error}") from None
    if reason:
        raise IdentityError(f"server {server}: {reason}")
    return f"{line}; server {server} accepts it"


def _usage_of(folder: Path) -> Usage:
    """Return what a kit is for, as far as its certificate says."""
    try:
        usages = usages_of(x509.load_pem_x509_certificate(read(folder / CERTIFICATE)))
    except ValueError:
        return Usage.CLIENT
    return Usage.SERVER if Usage.SERVER.value in usages else Usage.CLIENT
