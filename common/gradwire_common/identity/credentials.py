"""A peer's own certificate, key and authorities, read and checked before they are used.

A refused handshake tells a client nothing, so everything that can be known beforehand is checked here, and named.
"""

import ipaddress
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from gradwire_common.errors import IdentityError
from gradwire_common.identity.files import CA, CERTIFICATE, KEY, read
from gradwire_common.identity.names import Identity


class Usage(Enum):
    """What a certificate is of use for."""

    SERVER = ExtendedKeyUsageOID.SERVER_AUTH
    CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH


@dataclass(frozen=True)
class Credentials:
    """What a TLS handshake needs, checked; `read` makes it.

    Attributes:
        folder: that holds the files.
        ca, certificate, key: as PEM.
        identity: of a client; None for a server.
        expires: when the certificate does.
    """

    folder: Path
    ca: bytes
    certificate: bytes
    key: bytes
    identity: Identity | None
    expires: datetime

    @classmethod
    def read(cls, folder: Path, usage: Usage, now: datetime, host: str | None = None) -> Self:
        """Return the credentials in `folder`.

        Args:
            folder: holds CA, CERTIFICATE and KEY.
            usage: what for.
            now: with a time zone.
            host: that a server is called by; None where that is not known.

        Raises:
            IdentityError: a file is wrong; says which, why, and what helps.
        """
        ca, certificate, key = (read(folder / name) for name in (CA, CERTIFICATE, KEY))
        try:
            identity, expires = _checked(folder, ca, certificate, key, usage, now)
        except ValueError as error:  # extensions that cannot be read
            raise IdentityError(f"{folder / CERTIFICATE}: its extensions cannot be read: {error}") from None
        if host is not None:
            check_host(folder / CERTIFICATE, _certificates(folder / CERTIFICATE, certificate)[0], host)
        return cls(folder, ca, certificate, key, identity, expires)


def _checked(
    folder: Path, ca: bytes, certificate: bytes, key: bytes, usage: Usage, now: datetime
) -> tuple[Identity | None, datetime]:
    """Return who a certificate is of, and when it expires. Raises IdentityError where any of the three is wrong."""
    authorities = _certificates(folder / CA, ca)
    own, *between = _certificates(folder / CERTIFICATE, certificate)
    _check_key(folder, own, key)
    for file, each in [(CERTIFICATE, own), *((CERTIFICATE, each) for each in between)]:
        check_times(folder / file, each, now)
    _check_chain(folder, own, between, authorities, now)
    if usage.value not in usages_of(own):
        want = "a server's" if usage is Usage.SERVER else "a worker's, an observer's or an admin's"
        raise IdentityError(f"{folder / CERTIFICATE}: it is not of use here; want {want}")
    try:
        identity = identity_of(own) if usage is Usage.CLIENT else None
    except IdentityError as error:
        raise IdentityError(f"{folder / CERTIFICATE}: {error}") from None
    return identity, own.not_valid_after_utc


def loose_key(folder: Path) -> str:
    """Return what is wrong with the mode of the private key; empty where its owner alone can read it."""
    mode = stat.S_IMODE((folder / KEY).stat().st_mode)
    return f"{folder / KEY}: others can read it (mode {mode:04o}); want 0600" if mode & 0o077 else ""


def identity_of(certificate: x509.Certificate) -> Identity:
    """Return the one identity that a certificate has in a URI. Raises IdentityError where there is none, or more."""
    uris = list(_names(certificate, x509.UniformResourceIdentifier))
    if len(uris) != 1:
        raise IdentityError(f"got {len(uris)} URIs in the certificate, want one: spiffe://gradwire/ROLE/NAME")
    return Identity.of_uri(uris[0])


def usages_of(certificate: x509.Certificate) -> set[x509.ObjectIdentifier]:
    """Return what a certificate is of use for."""
    try:
        return set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return set()


def check_times(file: Path, certificate: x509.Certificate, now: datetime) -> None:
    """Raise IdentityError unless a certificate is valid at `now`."""
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begins:
        raise IdentityError(f"{file}: it is not yet valid: from {_day(begins)} on; is this machine's clock right?")
    if now > ends:
        raise IdentityError(f"{file}: it expired at {_day(ends)}; `gradwire certs issue --renew` makes another")


def check_host(file: Path, certificate: x509.Certificate, host: str) -> None:
    """Raise IdentityError unless a server's certificate names `host`."""
    try:
        number = str(ipaddress.ip_address(host))
    except ValueError:
        names = list(_names(certificate, x509.DNSName))
        known = any(_matches(host.lower(), name.lower()) for name in names)
    else:
        names = [str(name) for name in _names(certificate, x509.IPAddress)]
        known = number in names
    if not known:
        raise IdentityError(f"{file}: it is of another host: got {', '.join(names) or 'none'}, want {host}")


def _matches(host: str, name: str) -> bool:
    """Return whether a name of a certificate, whose first label may be `*`, takes in `host` (RFC 6125, 6.4)."""
    return host == name or (name.startswith("*.") and host.partition(".")[2] == name[2:])


def _names(certificate: x509.Certificate, kind: type[x509.GeneralName]) -> Iterator[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return iter(())
    return iter(found.get_values_for_type(kind))  # type: ignore[arg-type]


def _certificates(file: Path, pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise IdentityError(f"{file}: it has no certificate; want one as PEM") from None


def _check_key(folder: Path, own: x509.Certificate, pem: bytes) -> None:
    try:
        key = serialization.load_pem_private_key(pem, None)
    except TypeError:
        raise IdentityError(f"{folder / KEY}: it is encrypted; want a private key without a password") from None
    except ValueError:
        raise IdentityError(f"{folder / KEY}: it has no private key; want one as PEM") from None
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != own.public_key().public_bytes(*form):
        raise IdentityError(f"{folder / KEY}: it does not match {CERTIFICATE}; want the key of that certificate")


def _check_chain(
    folder: Path,
    own: x509.Certificate,
    between: list[x509.Certificate],
    authorities: list[x509.Certificate],
    now: datetime,
) -> None:
    """Raise IdentityError unless `own` is signed by an authority, or by one of `between` that is."""
    current = own
    for _ in range(len(between) + 1):
        signer = next((each for each in authorities if _signed(current, each)), None)
        if signer is not None:
            check_times(folder / CA, signer, now)
            return
        above = next((each for each in between if each is not current and _signed(current, each)), None)
        if above is None:
            break
        current = above
    raise IdentityError(f"{folder / CERTIFICATE}: it is of another authority than {CA}; want one that {CA} signed")


def _signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _day(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
