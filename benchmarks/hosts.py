"""Hosts on one machine: network namespaces on a bridge, each with a line of a given rate. Linux, root, iproute2."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

SUBNET = "10.231.77"
BURST = "64kb"  # of the token bucket at either end of a line
QUEUE = "100ms"  # that a packet may wait there, as in a small router


@dataclass(frozen=True)
class Host:
    """A host: the prefix of commands that are to run there, and its address."""

    namespace: str
    address: str

    def command(self, *words: str) -> list[str]:
        """Return the command line that runs `words` there."""
        return ["ip", "netns", "exec", self.namespace, *words]


def lacking() -> str:
    """Return what this machine lacks for hosts; empty where nothing is."""
    if os.geteuid() != 0:
        return "root"
    missing = [tool for tool in ("ip", "tc") if shutil.which(tool) is None]
    return f"{' and '.join(missing)} (iproute2)" if missing else ""


@contextmanager
def hosts(rates: dict[str, int]) -> Iterator[dict[str, Host]]:
    """Make hosts and the bridge between them; remove all of it at the end.

    Args:
        rates: bytes per second of each host's line, either way, by its name; 0 for no limit.
    """
    prefix = f"gw{os.getpid()}"
    bridge = f"{prefix}-bridge"
    with ExitStack() as stack:
        _add_namespace(bridge, stack)
        _ip("-n", bridge, "link", "add", "br0", "type", "bridge")
        _ip("-n", bridge, "link", "set", "br0", "up")
        made = {}
        for number, (name, rate) in enumerate(rates.items(), start=1):
            host = Host(f"{prefix}-{name}", f"{SUBNET}.{number}")
            _add_namespace(host.namespace, stack)
            port = f"port{number}"
            _ip("-n", bridge, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", host.namespace)
            _ip("-n", bridge, "link", "set", port, "master", "br0", "up")
            _ip("-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", host.namespace, "link", "set", device, "up")
            if rate:
                _limit(host.namespace, "eth0", rate)
                _limit(bridge, port, rate)
            made[name] = host
        yield made


def _add_namespace(name: str, stack: ExitStack) -> None:
    _ip("netns", "add", name)
    stack.callback(_ip, "netns", "delete", name)


def _limit(namespace: str, device: str, rate: int) -> None:
    limit = ["root", "tbf", "rate", f"{8 * rate}bit", "burst", BURST, "latency", QUEUE]
    subprocess.run(["tc", "-n", namespace, "qdisc", "add", "dev", device, *limit], check=True)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
