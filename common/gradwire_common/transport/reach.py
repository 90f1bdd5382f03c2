"""What lies between this machine and a server, for errors that say what to check: names, TLS, proxies."""

import ipaddress
import os
import socket
import ssl
from urllib.parse import urlsplit

from gradwire_common.errors import AddressError
from gradwire_common.transport.address import Address

VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")  # as gRPC reads them, the first that is set; lower case alone
EXCEPTIONS = ("no_grpc_proxy", "no_proxy")
PROBE_SECONDS = 1.0  # for a server to answer a TLS handshake


def check_known(server: Address) -> None:
    """Raise AddressError if the host of `server` has a name that nobody knows; no name server at all is no proof."""
    if server.path or proxy_of(server) is not None:
        return
    try:
        socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_NONAME:
            raise AddressError(
                f"server {server} cannot be reached: there is no host of that name; check its spelling"
            ) from None
    except OSError:
        return


def proxy_of(server: Address) -> tuple[str, str] | None:
    """Return the variable and the host and port, without credentials, of the proxy on the way to `server`, if any."""
    if server.loopback:
        return None
    variable = next((name for name in VARIABLES if os.environ.get(name)), None)
    excepted = next((os.environ[name] for name in EXCEPTIONS if os.environ.get(name)), "")
    if variable is None or any(_matches(server.host, each.strip()) for each in excepted.split(",")):
        return None
    try:
        parts = urlsplit(os.environ[variable])
        if parts.scheme != "http" or not parts.hostname:  # gRPC leaves others aside
            return None
        return variable, f"{parts.hostname}:{parts.port or 80}"
    except ValueError:
        return None


def speaks_tls(server: Address) -> bool:
    """Return whether `server` answers a TLS handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            server.connection(PROBE_SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=server.host),
        ):
            pass
    except ssl.SSLError as error:
        return "ALERT" in str(error)  # an alert is TLS too
    except OSError:
        return False
    return True


def _matches(host: str, pattern: str) -> bool:
    """Return whether no_proxy's `pattern`, a network or the end of a name, takes in `host`."""
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(pattern, strict=False)
    except ValueError:
        return bool(pattern) and host.lower().endswith(pattern.lower().lstrip("*"))
