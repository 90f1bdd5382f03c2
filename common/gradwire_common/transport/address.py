"""Addresses as people write them: HOST, HOST:PORT, [IPv6]:PORT, unix:/PATH."""

import ipaddress
import re
import socket
from dataclasses import dataclass

from gradwire_common.errors import ConfigError

DEFAULT_PORT = 50051  # of a parameter server, where only its host is given
MAX_PORT = 65535
MAX_NAME = 253  # characters of a host name (RFC 1035)
MAX_PATH = 107  # bytes of the path of a unix socket (unix(7), sun_path)
UNIX = "unix:"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/+")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_SHOWN = 80  # characters of a wrong address that a message repeats


@dataclass(frozen=True, slots=True)
class Address:
    """A host, by name or number, and a port; an IPv6 address stands without its brackets. Or a unix socket.

    Attributes:
        host, port: empty and 0 where it is a unix socket.
        path: of the unix socket; empty where it is none.
    """

    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"{UNIX}{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def target(self) -> str:
        """What gRPC calls it."""
        return str(self) if self.path else f"dns:///{self}"

    @property
    def loopback(self) -> bool:
        """Whether it is this machine's own, by a name or number that says so."""
        if self.path or self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def connection(self, seconds: float) -> socket.socket:
        """Return a connection to it. Raises OSError where there is none within so many seconds."""
        if not self.path:
            return socket.create_connection((self.host, self.port), seconds)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(seconds)
            connection.connect(self.path)
        except OSError:
            connection.close()
            raise
        return connection


def parse_address(text: object, *, listening: bool = False) -> Address:
    """Return the address that `text` names; the port is DEFAULT_PORT where it has none.

    Args:
        text: HOST, HOST:PORT, [IPv6]:PORT, an IPv6 address by itself, or unix:/PATH; blanks around it do not count. An
            Address is returned as it is.
        listening: whether it is to listen on: then port 0, which takes a free one, is one too.

    Raises:
        ConfigError: if it is none of these; says what to write.
    """
    if isinstance(text, Address):
        return text
    if not isinstance(text, str):
        raise ConfigError(f"got {text!r}, want HOST:PORT as text")
    stripped = text.strip()
    if stripped.startswith(UNIX):
        return _unix(text, stripped)
    if scheme := _SCHEME.match(stripped):
        rest = stripped[scheme.end() :].partition("/")[0]
        raise _wrong(text, f"HOST:PORT, without {scheme[0]!r}" + (f": {rest!r}" if rest else ""))
    if "/" in stripped:
        raise _wrong(text, f"HOST:PORT without a path: {stripped.partition('/')[0]!r}")
    host, port = _split(text, stripped)
    least = 0 if listening else 1
    if port is None:
        number = DEFAULT_PORT
    elif re.fullmatch(r"[0-9]{1,9}", port) and least <= int(port) <= MAX_PORT:
        number = int(port)
    else:
        raise _wrong(text, f"a port from {least} to {MAX_PORT} after the host, not {port!r}")
    return Address(host, number)


def _unix(text: str, stripped: str) -> Address:
    """Return the unix socket at a path, whose slashes are made one: unix:///PATH is the same."""
    path = "/" + stripped.removeprefix(UNIX).lstrip("/")
    if not stripped.startswith(f"{UNIX}/") or path == "/" or "\0" in path:
        raise _wrong(text, "the absolute path of a socket after unix:, such as 'unix:/run/gradwire/socket'")
    if len(path.encode("utf-8", "replace")) > MAX_PATH:
        raise _wrong(text, f"a path of at most {MAX_PATH} bytes")
    return Address("", 0, path)


def _split(text: str, stripped: str) -> tuple[str, str | None]:
    """Return the host, checked, and the port as text, None where there is none.

    Raises:
        ConfigError: if there is no such host.
    """
    if stripped.startswith("["):
        inside, bracket, rest = stripped[1:].partition("]")
        if not bracket or not _is_ipv6(inside) or (rest and not rest.startswith(":")):
            raise _wrong(text, "an IPv6 address in brackets and a port, such as '[::1]:50051'")
        return inside, rest[1:] if rest else None
    if stripped.count(":") > 1:
        before, _, port = stripped.rpartition(":")
        if not _is_ipv6(stripped) or _is_ipv6(before):  # what could be an address and a port is not guessed at
            example = f"'[{before}]:{port}'" if _is_ipv6(before) else "'host:50051' or '[::1]:50051'"
            raise _wrong(text, f"HOST:PORT, an IPv6 address in brackets, such as {example}")
        return stripped, None
    host, colon, port = stripped.partition(":")
    return _checked_host(text, host), port if colon else None


def _checked_host(text: str, host: str) -> str:
    if not host:
        raise _wrong(text, "HOST:PORT, such as '127.0.0.1:50051', or '0.0.0.0:50051' to listen on all addresses")
    try:
        name = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        name = ""
    labels = name.removesuffix(".").split(".")
    if len(name) > MAX_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        raise _wrong(text, "a host name of letters, digits and hyphens, or an IP address, and a port")
    if all(label.isdigit() for label in labels):
        try:
            ipaddress.IPv4Address(name)
        except ValueError:
            want = f"a host too: 'HOST:{name}'" if len(labels) == 1 else "an IPv4 address of four numbers up to 255"
            raise _wrong(text, want) from None
    return name


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _wrong(text: str, want: str) -> ConfigError:
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
    return ConfigError(f"got {shown!r}, want {want}")
