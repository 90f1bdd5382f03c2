"""One run whose server, workers and link are disturbed: real processes, and a TCP forwarder between them."""

import json
import os
import random
import resource
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from end_to_end.processes import start_server, start_worker
from gradwire.links.forwarder import Forwarder
from gradwire_common.settings.config import Config
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_common.v1.parameter_server_pb2_grpc import ParameterServerStub

LONGEST_PAUSE = 0.4  # seconds between a run's going on and the next disturbance
LEFT_ALONE = 10  # rounds
STALL_SECONDS = 180.0  # a run that makes no version for as long has hung
HEARTBEAT = 0.5  # seconds; a worker is dead after three
LONGEST_STOP = 4 * HEARTBEAT  # seconds that a process or the link stands still
LONGEST_FULL = 1.5  # seconds that the disk is full
PUSH_BYTES = 12_000  # more than a push of the digits takes, its call included


@dataclass
class Outcome:
    """What became of a run.

    Attributes:
        weights: the file that it left.
        rounds: those in its book, in order.
        contributors: how many pushes they had.
        disturbances: how many of each kind it got.
        recoveries: kind -> seconds from each such disturbance to the next version.
        restarts: seconds from each start of the server's process until it served.
        repeated: pushes that were answered as repetitions.
    """

    weights: bytes = b""
    rounds: list[int] = field(default_factory=list)
    contributors: set[int] = field(default_factory=set)
    disturbances: Counter[str] = field(default_factory=Counter)
    recoveries: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    restarts: list[float] = field(default_factory=list)
    repeated: int = 0


class World:
    """A server, its workers, and the link between them. Every method named disturb_... is a kind of disturbance.

    Args:
        folder: of everything that the run writes.
        rng: of moments and victims.
        started: how many of the run's workers are processes of its own; all where nothing is said.
        left_alone: last rounds, in which nothing is disturbed: who comes back then finds the run over.
        changes: of the settings of `run_config`.
    """

    def __init__(
        self,
        folder: Path,
        rng: random.Random,
        started: int | None = None,
        left_alone: int = LEFT_ALONE,
        **changes: Any,
    ):
        folder.mkdir(parents=True)
        self.folder = folder
        self.outcome = Outcome()
        self._rng = rng
        self._left_alone = left_alone
        self.config = run_config(folder, **changes)
        self._serve(resume=False)
        self.link = Forwarder(self.address)
        self.workers = [self._work(slot) for slot in range(self.config.workers if started is None else started)]

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self.workers, self.server):
            process.kill()
            process.join()
        self.link.close()

    def run(self, disturbances: Sequence[str] = ()) -> Outcome:
        """Disturb the run as told, as far as its rounds last, and wait for its end."""
        version = self.wait_for(1)
        for kind in disturbances:
            time.sleep(self._rng.uniform(0, LONGEST_PAUSE) ** 2)
            version = self.version() or version
            if version > self.config.rounds - self._left_alone:
                break
            began = time.monotonic()
            getattr(self, f"disturb_{kind}")()
            self.outcome.disturbances[kind] += 1
            more = self._rng.randint(0, 3)  # at 0 the next disturbance finds the run not yet recovered
            if more:
                version = self.wait_for(version + 1)
                self.outcome.recoveries[kind].append(time.monotonic() - began)
                version = self.wait_for(version + more - 1)
        self.wait_for_the_end()
        return self.outcome

    def disturb_server(self) -> None:
        """Kill it, and start it again."""
        self.server.kill()
        self.server.join()
        self._serve(resume=True)
        self.link.retarget(self.address)

    def disturb_worker(self) -> None:
        """Kill one, and start it again."""
        slot = self._rng.randrange(len(self.workers))
        self.workers[slot].kill()
        self.workers[slot].join()
        self.workers[slot] = self._work(slot)

    def disturb_link(self) -> None:
        """Reset every connection."""
        self.link.cut()

    def disturb_half(self) -> None:
        """Cut the link at some byte of a push."""
        self.link.cut_after(self._rng.randint(1, PUSH_BYTES))

    def disturb_delay(self) -> None:
        """Let nothing pass for a while."""
        self.link.hold(self._rng.uniform(0, LONGEST_STOP))

    def disturb_answer(self) -> None:
        """Lose the answers to what was asked, and cut: pushes that count are sent a second time."""
        self.link.lose_answers(self._rng.uniform(0.05, 0.3))

    def disturb_pause(self) -> None:
        """Stop a process for a while: its clock seems to jump."""
        victim = self._rng.choice([self.server, *self.workers])
        os.kill(victim.pid, signal.SIGSTOP)
        time.sleep(self._rng.uniform(0, LONGEST_STOP))
        os.kill(victim.pid, signal.SIGCONT)

    def disturb_disk(self) -> None:
        """Let no file of the server grow for a while, or none beyond some place in its journal."""
        journals = sorted((self.folder / "run" / "state").glob("journal-*"))
        place = journals[-1].stat().st_size + self._rng.randint(0, 2 * PUSH_BYTES) if journals else 0
        _, most = resource.prlimit(self.server.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.server.pid, resource.RLIMIT_FSIZE, (self._rng.choice([0, place]), most))
        time.sleep(self._rng.uniform(0, LONGEST_FULL))
        resource.prlimit(self.server.pid, resource.RLIMIT_FSIZE, (most, most))

    def version(self) -> int:
        """Return the version that the server has; 0 where it does not answer."""
        with suppress(grpc.RpcError), grpc.insecure_channel(self.address) as channel:
            stub: Any = ParameterServerStub(channel)  # type: ignore[no-untyped-call]
            return int(stub.Status(pb.StatusRequest(after_round=1 << 40), timeout=10).version)
        return 0

    def wait_for(self, version: int) -> int:
        """Wait until the run is at `version`; return where it is."""
        deadline = time.monotonic() + STALL_SECONDS
        while time.monotonic() < deadline:
            ended = self.server.exitcode is not None
            now = self.config.rounds if ended else self.version()
            self._check()
            if now >= version:
                return now
            time.sleep(0.01)
        raise AssertionError(f"no version {version} within {STALL_SECONDS} s; {self._logs()}")

    def wait_for_the_end(self) -> None:
        """Wait until all processes have ended by themselves, and remember what they left."""
        for process in (*self.workers, self.server):
            process.join(STALL_SECONDS)
            assert process.exitcode == 0, f"{process.name} ended with {process.exitcode}; {self._logs()}"
        run, outcome = self.folder / "run", self.outcome
        outcome.weights = (run / "weights.safetensors").read_bytes()
        lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
        rounds = [line for line in lines if line["kind"] == "round"]
        outcome.rounds = [line["round"] for line in rounds]
        outcome.contributors = {line["contributors"] for line in rounds}
        outcome.repeated = (self.folder / "server.log").read_text().count("counts already")

    def _serve(self, *, resume: bool) -> None:
        began = time.monotonic()
        config = self.config.replaced(resume=resume)
        self.server, self.address = start_server(config, self.folder / "server.log")
        self.outcome.restarts += [time.monotonic() - began] if resume else []

    def _work(self, slot: int) -> Any:
        changes = {"server": self.link.address, "worker_id": f"worker-{slot}", "slot": slot}
        config = self.config.replaced(**changes)
        return start_worker(config, self.folder / f"worker-{slot}.log")

    def _check(self) -> None:
        for process in (*self.workers, self.server):
            assert not process.exitcode, f"{process.name} ended with {process.exitcode}; {self._logs()}"

    def _logs(self) -> str:
        """Return the ends of all logs, for who has to find out what happened."""
        ends = (f"{path}:\n{path.read_text()[-2000:]}" for path in sorted(self.folder.glob("*.log")))
        return "\n".join(ends)


def run_config(folder: Path, **changes: Any) -> Config:
    """Return the settings of a run of the digits at two bits an entry, which waits for all and repeats to the bit."""
    settings = {
        "runs": folder,
        "listen": "127.0.0.1:0",
        "state": folder / "workers",
        "task": "digits",
        "quorum": "all",
        "batch_size": 16,
        "heartbeat": HEARTBEAT,
        "checkpoint_every": 20,
        "evaluate_every": 50,
        "threads": 1,
    }
    return Config(**{**settings, **changes})
