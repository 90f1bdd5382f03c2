"""Whether an address of this machine can be listened on."""

import socket

from gradwire_common.errors import ConfigError
from gradwire_common.transport.address import Address


def check_address(setting: str, listen: Address) -> None:
    """Raise ConfigError, naming the setting, unless `listen` is an address of this machine and its port free."""
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
