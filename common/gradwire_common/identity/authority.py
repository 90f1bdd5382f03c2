"""The authority that makes certificates: its own, a server's, those of workers, observers and admins.

Keys are on P-256. The authority signs nothing but peers' certificates (path length 0); a server's are of use to servers
alone and the others' to clients alone (extended key usage). Times are arguments.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gradwire_common.errors import ConfigError, IdentityError
from gradwire_common.identity.names import Identity
from gradwire_common.transport.address import parse_address

CA_DAYS = 3650
SERVER_DAYS = 365
CLIENT_DAYS = 30  # of workers, observers and admins: a key that leaks is of no use for longer
MAX_DAYS = 3650
CLOCK_SKEW = timedelta(minutes=5)  # that the clock of a peer may be behind
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")  # every server's own names, for who calls it on its own machine


@dataclass(frozen=True)
class Issued:
    """A certificate and its private key, as PEM."""

    certificate: bytes
    key: bytes

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the certificate in hexadecimal digits."""
        return fingerprint_of(x509.load_pem_x509_certificate(self.certificate))


def fingerprint_of(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of a certificate in hexadecimal digits."""
    return certificate.fingerprint(hashes.SHA256()).hex()


@dataclass(frozen=True)
class Authority:
    """What signs certificates; `init` makes one, `load` reads one."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def init(cls, now: datetime) -> Self:
        """Return a new authority, good for CA_DAYS."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"gradwire authority {now:%Y-%m-%d}")])
        builder = _builder(name, name, key.public_key(), now, CA_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(signs=True), critical=True)
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def load(cls, certificate: bytes, key: bytes) -> Self:
        """Return the authority of two PEM files. Raises IdentityError where they are none."""
        try:
            loaded = serialization.load_pem_private_key(key, None)
            if isinstance(loaded, ec.EllipticCurvePrivateKey):
                return cls(x509.load_pem_x509_certificate(certificate), loaded)
        except (ValueError, TypeError):
            pass
        raise IdentityError("got no certificate and P-256 key of an authority, want those that `certs init` made")

    @property
    def pem(self) -> Issued:
        """Certificate and key as PEM."""
        return Issued(self.certificate.public_bytes(serialization.Encoding.PEM), _private_pem(self.key))

    def issue_server(self, hosts: Sequence[str], now: datetime, days: int = SERVER_DAYS) -> Issued:
        """Return the certificate of a server that is called by any of `hosts`, or on its own machine.

        Raises:
            ConfigError: a host is none, or the days are none.
        """
        names = [_host_name(host) for host in dict.fromkeys([*hosts, *LOCAL_HOSTS])]
        return self._issue(f"gradwire server {hosts[0]}"[:64], names, ExtendedKeyUsageOID.SERVER_AUTH, now, days)

    def issue_client(self, identity: Identity, now: datetime, days: int = CLIENT_DAYS) -> Issued:
        """Return the certificate of a worker, an observer or an admin. Raises ConfigError for days that are none."""
        uri = x509.UniformResourceIdentifier(identity.uri)
        return self._issue(identity.name, [uri], ExtendedKeyUsageOID.CLIENT_AUTH, now, days)

    def _issue(
        self, name: str, names: list[x509.GeneralName], usage: x509.ObjectIdentifier, now: datetime, days: int
    ) -> Issued:
        if not 1 <= days <= MAX_DAYS:
            raise ConfigError(f"days: got {days}, want 1 to {MAX_DAYS}")
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(subject, self.certificate.subject, key.public_key(), now, days)
        for extension, critical in (
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_usage(signs=False), True),
            (x509.ExtendedKeyUsage([usage]), False),
            (x509.SubjectAlternativeName(names), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False),
        ):
            builder = builder.add_extension(extension, critical=critical)
        signed = builder.sign(self.key, hashes.SHA256())
        return Issued(signed.public_bytes(serialization.Encoding.PEM), _private_pem(key))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host_name(host: str) -> x509.GeneralName:
    """Return the name of a host, or its number. Raises ConfigError if it is none."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        name = parse_address(host).host  # refuses what is no name of a host
    if name != host:
        raise ConfigError(f"host: got {host!r}, want the name or number of a host without a port")
    return x509.DNSName(name)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
