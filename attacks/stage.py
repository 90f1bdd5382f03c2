"""Where every attack is performed: a server in a process of its own, two honest workers, peers that do as they like.

The honest workers take round after round. An attack says what it was answered. When it is done, the honest run must
have the weights that it would have alone, and the server no traceback in its log; how long the status took at worst,
and what memory the attack cost, is measured.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from gradwire_common.settings.config import Config
from gradwire_common.transport.address import Address
from gradwire_common.transport.channel import error_of
from gradwire_common.v1 import parameter_server_pb2 as pb
from safety.honest import HonestPair, honest_pair, undisturbed
from server.plain_worker import PlainWorker, gradient_of, initial_weights, run_config

__all__ = ["PlainWorker", "Stage", "gradient_of", "initial_weights", "perform", "stage"]

ASK_EVERY = 0.02  # seconds
PAUSE = 0.01  # seconds between honest rounds
ROUNDS_AFTER = 3  # that the honest run takes once an attack is done
LISTENING = re.compile(r"listening on (\S+)")
START_SECONDS = 240.0  # kernels may have to be compiled


class Stage:
    """A run under attack.

    Attributes:
        address: HOST:PORT of its server.
        lines: what attacks have said.
        worst: seconds that the slowest answer to a question for the status took.
        rounds: that the honest workers have taken.
    """

    def __init__(self, address: str, process: "subprocess.Popen[str]", honest: HonestPair):
        self.address = address
        self.lines: list[str] = []
        self.worst = 0.0
        self._process = process
        self._honest = honest
        self._peers: list[PlainWorker] = []
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._problems: list[BaseException] = []
        self._between_rounds = threading.Lock()

    @property
    def rounds(self) -> int:
        """Rounds that the honest workers have taken."""
        return self._honest.version

    @property
    def resident(self) -> int:
        """Bytes of memory that the server has."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return 1024 * int(re.search(r"VmRSS:\s+(\d+)", status)[1])  # type: ignore[index]

    def peer(self, name: str, **options: Any) -> PlainWorker:
        """Return a peer on a connection of its own that has said nothing yet."""
        options.setdefault("options", [("grpc.use_local_subchannel_pool", 1)])
        self._peers.append(PlainWorker(self.address, name, **options))
        return self._peers[-1]

    def tell(self, what: str, call: Callable[[], Any]) -> Any:
        """Make a call; say what it was answered. Return the answer, None where it was refused."""
        try:
            answer = call()
        except grpc.RpcError as error:
            told = error_of(error, Address("server", 50051))
            self.say(f"{what}: {error.code().name}: {told}")
            return None
        verdict = getattr(answer, "verdict", None)
        self.say(f"{what}: {pb.Verdict.Name(verdict)}" if verdict else f"{what}: answered")
        return answer

    def say(self, line: str) -> None:
        """Note a line of what happened."""
        self.lines.append(line)

    def wait_for_rounds(self, n: int = 2, seconds: float = 60.0) -> None:
        """Wait until the honest run has taken `n` more rounds: what was done has not stopped it."""
        want, deadline = self.rounds + n, time.monotonic() + seconds
        while self.rounds < want:
            if time.monotonic() > deadline or self._problems:
                raise TimeoutError(f"the honest run is at round {self.rounds}, want {want}: {self._problems}")
            time.sleep(0.01)

    @contextmanager
    def paused(self) -> Iterator[int]:
        """Let no honest worker push while the body runs; yield the round that is open."""
        with self._between_rounds:
            yield self.rounds + 1

    @contextmanager
    def playing(self) -> Iterator[None]:
        """Let the honest workers take rounds, and somebody ask for the status, while the body runs."""
        self._over.clear()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._play, self._ask)]
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join(60)
            for peer in self._peers:
                with suppress(grpc.RpcError, AttributeError):  # those that never joined have no session
                    peer.leave()
                peer.channel.close()
            self._peers.clear()
        if self._problems:
            raise self._problems[0]

    def check(self) -> None:
        """Raise AssertionError unless the honest run has the weights that it would have alone."""
        self._honest.play(ROUNDS_AFTER)
        want = undisturbed(self.rounds)
        for worker in self._honest.workers:
            np.testing.assert_array_equal(worker.flat, want)

    def _play(self) -> None:
        try:
            while not self._over.is_set():
                with self._between_rounds:
                    self._honest.play()
                time.sleep(PAUSE)
        except BaseException as error:
            self._problems.append(error)

    def _ask(self) -> None:
        observer = PlainWorker(self.address, "observer")
        try:
            while not self._over.wait(ASK_EVERY):
                began = time.monotonic()
                observer.status(after_round=self.rounds)
                self.worst = max(self.worst, time.monotonic() - began)
        except BaseException as error:
            self._problems.append(error)
        finally:
            observer.channel.close()


@contextmanager
def stage(folder: Path, **settings: Any) -> Iterator[Stage]:
    """Start a server and an honest run; afterwards end both."""
    changes = {"rounds": 0, "evaluate_every": 0, "heartbeat": 5.0, "quorum": 2, "deadline": "5", **settings}
    path = folder / "server.toml"
    config: Config = run_config(folder / "runs", **changes)
    path.write_text(config.to_toml(as_given=("worker", "task")))
    command = [sys.executable, "-P", "-m", "gradwire", "server", "--config", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    log: list[str] = []
    try:
        address = _address(process, log)
        reading = threading.Thread(target=lambda: log.extend(process.stderr), daemon=True)  # type: ignore[arg-type]
        reading.start()
        with honest_pair(address) as honest:
            yield Stage(address, process, honest.begin())
    finally:
        process.terminate()
        process.wait(30)
    reading.join(10)
    process.stderr.close()  # type: ignore[union-attr]
    if traces := [line for line in log if line.startswith("Traceback")]:
        raise AssertionError(f"the server logged {len(traces)} tracebacks: {''.join(log[-40:])}")
    if process.returncode != 0:
        raise AssertionError(f"the server ended with exit code {process.returncode}: {''.join(log[-5:])}")


def _address(process: "subprocess.Popen[str]", log: list[str]) -> str:
    timer = threading.Timer(START_SECONDS, process.kill)
    timer.start()
    try:
        for line in process.stderr:  # type: ignore[union-attr]
            log.append(line)
            if found := LISTENING.search(line):
                return found[1]
    finally:
        timer.cancel()
    raise RuntimeError(f"the server did not start: {''.join(log[-5:])}")


def perform(attack: Callable[[Stage], None], **settings: Any) -> None:
    """Perform one attack as a program: print what it got, and what became of the honest run."""
    argparse.ArgumentParser(description=sys.modules["__main__"].__doc__).parse_args()
    with tempfile.TemporaryDirectory(prefix="gradwire-attack-") as folder, stage(Path(folder), **settings) as on:
        before = on.resident
        with on.playing():
            on.wait_for_rounds()
            attack(on)
            on.wait_for_rounds()
        on.check()
        for line in on.lines:
            print(line)
        print(
            f"the honest run: {on.rounds} rounds, the weights that it would have alone; slowest status "
            f"{1e3 * on.worst:.0f} ms, memory {(on.resident - before) / 1e6:+.0f} MB"
        )


def answers_of(text: str) -> list[str]:
    """Return the answers that the description of an attack promises: the indented lines after "Answers:"."""
    return [line.strip() for line in text.partition("Answers:\n")[2].splitlines() if line.strip()]


def pattern(answer: str) -> str:
    """Return the expression that a promised answer stands for: "..." is any text."""
    return ".*".join(map(re.escape, answer.split("...")))
