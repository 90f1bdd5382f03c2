"""Whether an address of this machine can be listened on, and whether it may be without certificates."""

import os
import socket
import stat
from pathlib import Path

from gradwire_common.errors import ConfigError
from gradwire_common.transport.address import Address

PROBE_SECONDS = 1.0  # for a server that may listen at a unix socket to accept


def check_exposed(listen: Address, *, guarded: bool, insecure: bool) -> None:
    """Raise ConfigError where other machines could reach a server that asks nobody who they are.

    Args:
        listen: where it listens.
        guarded: whether callers show certificates.
        insecure: whether the operator wants it all the same.
    """
    if not (listen.loopback or guarded or insecure):
        raise ConfigError(
            f"listen: got {listen} without certificates: everyone who reaches it could end the run; "
            "want --certs DIR (`gradwire certs init` makes one), an address of this machine alone, or --insecure"
        )


def check_address(setting: str, listen: Address) -> None:
    """Raise ConfigError, naming the setting, unless `listen` is an address of this machine and its port free."""
    if listen.path:
        _check_socket(setting, listen)
        return
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        raise ConfigError(
            f"{setting}: cannot listen on {listen}: {error.strerror}; want a free port of this machine (0 takes any)"
        ) from None


def _check_socket(setting: str, listen: Address) -> None:
    """Raise ConfigError unless a unix socket can be made, in place of one at which nobody listens any more."""
    path = Path(listen.path)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ConfigError(f"{setting}: cannot listen on {listen}: want a folder that is there and can be written to")
    if not os.path.lexists(path):
        return
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise ConfigError(f"{setting}: cannot listen on {listen}: there is a file that is no socket; want another path")
    try:
        listen.connection(PROBE_SECONDS).close()
    except OSError:
        return
    raise ConfigError(f"{setting}: cannot listen on {listen}: another process does; want another path")
