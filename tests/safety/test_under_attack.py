"""A server process under each way of starving it: memory, waits for an answer, and rounds of honest workers meanwhile.

`python -m pytest -s tests/safety/test_under_attack.py -m long` prints the figures. The honest workers' links are
limited, as those of gradwire's users are: a round takes what its bytes take, not what an attacker leaves of processors.
"""

import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from end_to_end.processes import preload, start_server
from gradwire_common.layout.manifest import Manifest, TensorSpec
from safety.beside import follow, gradient_for
from server.plain_worker import PlainWorker, initial_weights, plain_workers, run_config

MODEL = Manifest((TensorSpec("dense.weight", (512, 1024)),))  # 2 MiB of float32
SECONDS = 4.0  # of every attack, once the rounds are over that wait for a new worker until their deadline
SETTLING = 4.0  # seconds until then
GROWTH = 64 << 20  # bytes
STALL = 0.25  # seconds that the median answer may take
KEPT = 0.8  # of the rate of rounds
RATE = "100 Mbit/s"  # of every worker, each way

Attack = Callable[[PlainWorker, str, ExitStack, threading.Event], None]


def pushes_without_end(evil: PlainWorker, address: str, stack: ExitStack, over: threading.Event) -> None:
    """Sixty pushes at once, each begun and left open."""
    round_ = evil.status().version + 1
    chunk = next(message for message in evil.gradient_messages(gradient_for(evil, 1), round_) if message.chunk.data)
    header = next(iter(evil.gradient_messages(gradient_for(evil, 1), round_)))

    def begun() -> Iterator[object]:
        yield header
        yield chunk
        over.wait()

    for _ in range(60):
        stack.callback(evil.stub.Push.future(begun(), timeout=60).cancel)


def streams_that_nobody_reads(evil: PlainWorker, address: str, stack: ExitStack, over: threading.Event) -> None:
    """A stream after the other, for snapshots of as many versions."""
    while not over.wait(0.1):
        stack.callback(evil.watch().cancel)


def connections_that_say_nothing(evil: PlainWorker, address: str, stack: ExitStack, over: threading.Event) -> None:
    host, port = address.split(":")
    for _ in range(500):
        stack.enter_context(socket.create_connection((host, int(port))))


def joins_again_and_again(evil: PlainWorker, address: str, stack: ExitStack, over: threading.Event) -> None:
    while not over.is_set():
        evil.join()


def asks_what_is_staged(evil: PlainWorker, address: str, stack: ExitStack, over: threading.Event) -> None:
    while not over.is_set():
        evil.staged(1)


def pings(evil: PlainWorker, address: str, stack: ExitStack, over: threading.Event) -> None:
    """HTTP/2 pings as fast as they can be written; the connection is opened again where it is closed."""
    host, port = address.split(":")
    greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
    ping = b"\0\0\10\6\0\0\0\0\0" + b"12345678"
    while not over.is_set():
        with socket.create_connection((host, int(port))) as connection:
            connection.settimeout(1.0)
            try:
                connection.sendall(greeting)
                while not over.is_set():
                    connection.sendall(1000 * ping)
            except OSError:
                over.wait(0.01)


class Honest:
    """Two workers that make round after round until their channels are closed."""

    def __init__(self, workers: tuple[PlainWorker, PlainWorker]):
        self.rounds = 0
        self.failed: list[Exception] = []
        for worker in workers:
            threading.Thread(target=self._work, args=(worker,), daemon=True).start()

    def _work(self, worker: PlainWorker) -> None:
        gradient = gradient_for(worker, 1)
        try:
            while True:
                round_ = worker.version + 1
                worker.push(gradient, round_)
                follow(worker, round_)
                self.rounds = max(self.rounds, round_)
        except (grpc.RpcError, ValueError) as error:  # the channel is closed, as happens at the end
            self.failed.append(error)

    def rate(self, seconds: float, probe: Callable[[], float], pid: int) -> tuple[float, float, int]:
        """Return rounds a second, the median answer of `probe`, and the most memory of a process, over some seconds."""
        before, began, answers, most = self.rounds, time.monotonic(), [], 0
        while time.monotonic() - began < seconds:
            answers.append(probe())
            most = max(most, resident(pid))
            threading.Event().wait(0.05)
        assert not self.failed
        return (self.rounds - before) / (time.monotonic() - began), statistics.median(answers), most


def resident(pid: int) -> int:
    """Return the bytes of memory that a process takes."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) << 10


@pytest.mark.long
@pytest.mark.parametrize(
    "attack",
    [
        pushes_without_end,
        streams_that_nobody_reads,
        connections_that_say_nothing,
        joins_again_and_again,
        asks_what_is_staged,
        pings,
    ],
)
def test_honest_rounds_go_on_and_memory_stays(tmp_path: Path, attack: Attack) -> None:
    preload()
    config = run_config(
        tmp_path,
        rounds=0,
        evaluate_every=0,
        checkpoint_every=0,
        heartbeat=2.0,
        deadline="1",
        silent_after="1 s",
        quorum=2,
        rate_up=RATE,
        rate_down=RATE,
    )
    server, address = start_server(config, tmp_path / "log")
    with ExitStack() as stack:
        stack.callback(server.join)
        stack.callback(server.kill)
        a, b, evil, other = stack.enter_context(plain_workers(address, 4, manifest=MODEL))
        for worker in (a, b):
            worker.begin(initial_weights(worker.layout.size))
        honest = Honest((a, b))

        def probe() -> float:
            began = time.monotonic()
            other.status()
            return time.monotonic() - began

        honest.rate(2.0, probe, server.pid)
        rate, answer, before = honest.rate(SECONDS, probe, server.pid)
        evil.join()
        over = threading.Event()
        attacking = threading.Thread(target=_until_over, args=(attack, evil, address, stack, over))
        attacking.start()
        honest.rate(SETTLING, probe, server.pid)
        attacked, slower, most = honest.rate(SECONDS, probe, server.pid)
        over.set()
        attacking.join(60)
        grown = most - before
        name = attack.__name__.replace("_", " ")
        print(
            f"\n{name}: {attacked:.1f} rounds/s of {rate:.1f}, {grown / 2**20:+.0f} MiB, "
            f"status after {1e3 * slower:.0f} ms, {1e3 * answer:.0f} before"
        )
        assert grown < GROWTH
        assert slower < max(STALL, 3 * answer)
        assert attacked > KEPT * rate


def _until_over(attack: Attack, evil: PlainWorker, address: str, stack: ExitStack, over: threading.Event) -> None:
    try:
        attack(evil, address, stack, over)
    except grpc.RpcError:
        over.wait()  # it was turned away
