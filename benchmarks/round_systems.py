"""Rounds of gradwire and of Flower, each a server and two workers as processes, every worker behind a relay."""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from fuzzing.memory import memory_of
from gradwire_common.identity.access import CERTS_VARIABLE
from gradwire_common.identity.kits import SERVER_FOLDER
from gradwire_common.settings.config import Config
from light_worker import name_of
from load_run import make_kits

HERE = Path(__file__).parent
WORKERS = 2
TENSORS, ENTRIES = 10, 1_000_000  # the work: 40 MB of float32
START_SECONDS = 120.0  # for a server to listen
END_SECONDS = 60.0  # for processes to end after the last round
UNCOUNTED = 2  # rounds at the start: connections, first fits, pages that are touched for the first time


@dataclass(frozen=True, slots=True)
class Measured:
    """One system over one link.

    Attributes:
        seconds: of a round, median.
        all_seconds: of each round that counts.
        up, down: bytes at the sockets, a worker and round.
        peak_rss: bytes, of the server.
    """

    seconds: float
    all_seconds: tuple[float, ...]
    up: float
    down: float
    peak_rss: int

    def bound(self, rate: float) -> float:
        """Return the least seconds that a round's bytes take at `rate` bytes a second each way; 0 for no limit."""
        return (self.up + self.down) / rate if rate else 0.0


def run_gradwire(rate: float, rounds: int, *, certified: bool = False, delay: int = 0, **coding: Any) -> Measured:
    """Measure `rounds` rounds of gradwire, over mutual TLS or not; nothing is kept on the disk, as with Flower."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        certs = make_kits(Path(folder) / "certs", map(name_of, range(WORKERS))) if certified else None
        config = Config(
            runs=Path(folder),
            listen="127.0.0.1:0",
            log_level="error",
            workers=WORKERS,
            rounds=UNCOUNTED + rounds,
            evaluate_every=0,
            buffers_every=0,
            checkpoint_every=0,
            optimizer_options={},
            certs=certs / SERVER_FOLDER if certs else None,
            **coding,
        )
        file = Path(folder) / "server.toml"
        file.write_text(config.to_toml())
        server = stack.enter_context(process(sys.executable, "-m", "gradwire", "server", "--config", str(file)))
        address = first_line(server).split()[-1]
        relays = [stack.enter_context(relay(address, rate)) for _ in range(WORKERS)]
        workers = [
            stack.enter_context(
                process(
                    *(sys.executable, str(HERE / "round_worker.py"), near, str(slot), str(TENSORS * ENTRIES)),
                    *([str(delay)] if delay else []),
                    **({CERTS_VARIABLE: str(certs / name_of(slot))} if certs else {}),
                )
            )
            for slot, (_, near) in enumerate(relays)
        ]
        return measure([each for each, _ in relays], workers[0], server, rounds)


def run_flower(python: Path, rate: float, rounds: int) -> Measured:
    """Measure `rounds` rounds of Flower's start_server and start_client, run by `python`."""
    with ExitStack() as stack:
        port = free_port()
        script = [str(python), str(HERE / "peers" / "flower_server.py")]
        server = stack.enter_context(process(*script, *map(str, (port, UNCOUNTED + rounds, TENSORS, ENTRIES))))
        wait_until_listening(port)
        relays = [stack.enter_context(relay(f"127.0.0.1:{port}", rate)) for _ in range(WORKERS)]
        for _, near in relays:
            stack.enter_context(process(str(python), str(HERE / "peers" / "flower_client.py"), near))
        return measure([each for each, _ in relays], server, server, rounds)


def measure(
    relays: Sequence["subprocess.Popen[str]"],
    teller: "subprocess.Popen[str]",
    server: "subprocess.Popen[str]",
    rounds: int,
) -> Measured:
    """Read the times of rounds that `teller` prints, then what the relays carried meanwhile."""
    times = [float(first_line(teller)) for _ in range(UNCOUNTED + rounds)][UNCOUNTED - 1 :]
    peak = memory_of("VmHWM", server.pid)
    carried = [between(each, times[0], times[-1]) for each in relays]
    up, down = (sum(way) / len(relays) / rounds for way in zip(*carried, strict=True))
    seconds = tuple(after - before for before, after in pairwise(times))
    return Measured(statistics.median(seconds), seconds, up, down, peak)


@contextmanager
def process(*command: str, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a process while the body runs, with variables beside this one's; what it says of errors is dropped."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **environment},
    ) as started:
        try:
            yield started
        finally:
            started.kill()


@contextmanager
def relay(target: str, rate: float) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Run a relay to `target`; yield it and its address."""
    with process(sys.executable, str(HERE / "relay.py"), target, str(rate)) as started:
        yield started, first_line(started)


def between(relay: "subprocess.Popen[str]", begin: float, end: float) -> tuple[int, int]:
    """Return the bytes that went up and down through a relay between two times."""
    assert relay.stdin is not None
    relay.stdin.write(f"{begin} {end}\n")
    relay.stdin.flush()
    up, down = first_line(relay).split()
    return int(up), int(down)


def first_line(running: "subprocess.Popen[str]") -> str:
    """Return the next line that a process prints."""
    assert running.stdout is not None
    line = running.stdout.readline()
    if not line:
        raise RuntimeError(f"{' '.join(map(str, running.args))} ended with exit code {running.wait()}")
    return line.strip()


def free_port() -> int:
    """Return a port that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_listening(port: int) -> None:
    """Return once connections to `port` are accepted."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"nothing listened on port {port} within {START_SECONDS:.0f} s")
