"""Mutual TLS: the server's own certificate, and callers known by theirs. Files that change are read again."""

import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509

from gradwire_common.errors import IdentityError
from gradwire_common.identity.allowed import Allowed
from gradwire_common.identity.authority import fingerprint_of
from gradwire_common.identity.credentials import Credentials, Usage, identity_of, loose_key
from gradwire_common.identity.files import ALLOWED, CA, CERTIFICATE, KEY
from gradwire_server.rpc.callers import Caller

log = logging.getLogger("gradwire.server")

MAX_KNOWN = 4096  # certificates of callers that are kept read; each takes about 2 KB
PEM = "x509_pem_cert"  # what gRPC calls the certificate of the peer


class ServerCertificate:
    """The server's own kit.

    Args:
        folder: of the kit.

    Raises:
        IdentityError: a file of it is wrong.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._stamp = _stamp(folder)
        self._credentials = _read(folder)
        if loose := loose_key(folder):
            log.warning("%s", loose)

    def credentials(self) -> grpc.ServerCredentials:
        """Return what gRPC listens with; it asks for changes at every handshake."""
        first = _configuration(self._credentials)
        return grpc.dynamic_ssl_server_credentials(first, self._changed, require_client_authentication=True)

    def _changed(self) -> Any:
        """Return what to serve from now on; None for what was served before. Called in threads of gRPC's."""
        stamp = _stamp(self._folder)
        if stamp == self._stamp:
            return None
        try:
            read = _read(self._folder)
        except IdentityError as error:  # its files may be being written
            log.warning("the earlier certificate is still served: %s", error)
            return None
        self._stamp = stamp
        log.info("%s: another certificate is served from now on, until %s", self._folder, read.expires)
        return _configuration(read)


class Certificates:
    """Callers by the certificates of their connections, whose signatures gRPC has checked.

    Args:
        folder: the server's kit.

    Raises:
        IdentityError: the list of those that may call is wrong.
    """

    def __init__(self, folder: Path):
        self._allowed = Allowed(folder / ALLOWED)
        self._known: dict[bytes, Caller] = {}

    def caller_of(self, context: Any) -> Caller:
        """Return who makes a call. Raises IdentityError where there is no certificate, or none of ours."""
        pem = next(iter(context.auth_context().get(PEM, ())), None)
        if pem is None:
            raise IdentityError("got a call without a certificate, want one by TLS")
        caller = self._known.get(pem)
        if caller is None:
            caller = _caller(pem)
            while len(self._known) >= MAX_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[pem] = caller
        return caller

    def check(self, caller: Caller, now: float) -> None:
        """Raise IdentityError unless `caller` is allowed and its certificate has not expired."""
        if now > caller.expires:
            raise IdentityError(f"the certificate of {caller.identity} has expired; want another")
        if not self._allowed.has(caller.identity, caller.credential):
            raise IdentityError(f"{caller.identity} is not allowed to call with this certificate")

    def look(self) -> None:
        """Read the list of those that may call again, if it has changed."""
        self._allowed.look()


def _caller(pem: bytes) -> Caller:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        expires = certificate.not_valid_after_utc.timestamp()
        return Caller(identity_of(certificate), fingerprint_of(certificate), expires)
    except ValueError:
        raise IdentityError("got a certificate that cannot be read, want one of `gradwire certs`") from None


def _read(folder: Path) -> Credentials:
    return Credentials.read(folder, Usage.SERVER, datetime.now(UTC))


def _configuration(read: Credentials) -> Any:
    return grpc.ssl_server_certificate_configuration([(read.key, read.certificate)], root_certificates=read.ca)


def _stamp(folder: Path) -> list[tuple[int, int]]:
    """Return what changes when a file of a kit does."""
    found = []
    for name in (CA, CERTIFICATE, KEY):
        try:
            status = os.stat(folder / name)
            found.append((status.st_mtime_ns, status.st_ino))
        except OSError:
            found.append((0, 0))
    return found
