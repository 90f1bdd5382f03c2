"""Runs whose server and workers are killed and whose links are cut at random, compared with a run that is left alone.

Processes are real and die by SIGKILL; a fork server that has torch and the kernels in memory starts them again within a
second. Workers reach the server through a TCP forwarder, which resets connections and follows a server that comes back.
With a quorum of all workers and no deadline, every run must end by itself with the bits of the undisturbed run.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc

from gradwire.links.forwarder import Forwarder
from gradwire_common.config import Config
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_common.v1.parameter_server_pb2_grpc import ParameterServerStub

KINDS = ("server", "worker", "link")
LONGEST_PAUSE = 0.4  # seconds between a run's going on and the next disturbance
LEFT_ALONE = 10  # last rounds, in which nothing is killed: who comes back then finds the run over
START_SECONDS = 60.0
STALL_SECONDS = 90.0  # a run that makes no version for as long has hung
ROUNDS_PER_DISTURBANCE = 6

_context = multiprocessing.get_context("forkserver")


@dataclass
class Outcome:
    """What became of a run."""

    weights: bytes
    rounds: list[int]
    contributors: set[int]
    disturbances: Counter[str] = field(default_factory=Counter)
    restart_seconds: list[float] = field(default_factory=list)


class World:
    """One run: a server, its workers, and the link between them.

    Args:
        folder: of everything that the run writes.
        rounds: of the run.
        rng: of moments and victims.
    """

    def __init__(self, folder: Path, rounds: int, workers: int, rng: random.Random):
        folder.mkdir(parents=True)
        self.folder = folder
        self.rounds = rounds
        self.outcome = Outcome(b"", [], set())
        self._rng = rng
        self._config = run_config(folder, rounds, workers)
        self._server, self._address = self._serve(resume=False)
        self.link = Forwarder(self._address)
        self._workers = [self._work(slot) for slot in range(workers)]

    def run(self, disturbances: Sequence[str]) -> Outcome:
        """Disturb the run as told, and wait for its end."""
        try:
            with grpc.insecure_channel(self.link.address) as channel:
                self._stub: Any = ParameterServerStub(channel)  # type: ignore[no-untyped-call]
                version = 0
                for kind in disturbances:
                    version = self._wait_for(version + self._rng.randint(1, 3))
                    if version > self.rounds - LEFT_ALONE:
                        break
                    time.sleep(self._rng.uniform(0, LONGEST_PAUSE) ** 2)
                    getattr(self, f"_disturb_{kind}")()
                    self.outcome.disturbances[kind] += 1
            self._wait_for_the_end()
        finally:
            for process in (*self._workers, self._server):
                process.kill()
            self.link.close()
        run = self.folder / "run"
        self.outcome.weights = (run / "weights.safetensors").read_bytes()
        lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
        rounds = [line for line in lines if line["kind"] == "round"]
        self.outcome.rounds = [line["round"] for line in rounds]
        self.outcome.contributors = {line["contributors"] for line in rounds}
        return self.outcome

    def _disturb_server(self) -> None:
        self._server.kill()
        self._server.join()
        began = time.monotonic()
        self._server, self._address = self._serve(resume=True)
        self.outcome.restart_seconds.append(time.monotonic() - began)
        self.link.retarget(self._address)

    def _disturb_worker(self) -> None:
        slot = self._rng.randrange(len(self._workers))
        self._workers[slot].kill()
        self._workers[slot].join()
        self._workers[slot] = self._work(slot)

    def _disturb_link(self) -> None:
        self.link.cut()

    def _serve(self, *, resume: bool) -> tuple[Any, str]:
        near, far = _context.Pipe(duplex=False)
        config = self._config.model_copy(update={"resume": resume})
        process = _context.Process(target=serve_one, args=(config, far, self.folder / "server.log"))
        process.start()
        far.close()
        if not near.poll(START_SECONDS):
            raise AssertionError(f"the server did not listen within {START_SECONDS} s; log: {self.folder}")
        return process, f"127.0.0.1:{near.recv()}"

    def _work(self, slot: int) -> Any:
        changes = {"server": self.link.address, "worker_id": f"worker-{slot}", "slot": slot}
        config = self._config.model_copy(update=changes)
        process = _context.Process(target=work_one, args=(config, self.folder / f"worker-{slot}.log"))
        process.start()
        return process

    def _wait_for(self, version: int) -> int:
        """Wait until the run is at `version`; return where it is."""
        deadline = time.monotonic() + STALL_SECONDS
        while time.monotonic() < deadline:
            with suppress(grpc.RpcError):
                now: int = self._stub.Status(pb.StatusRequest(after_round=1 << 40), timeout=5).version
                if now >= version:
                    return now
            self._check()
            time.sleep(0.02)
        raise AssertionError(f"no version {version} within {STALL_SECONDS} s; logs: {self.folder}")

    def _wait_for_the_end(self) -> None:
        for process in (*self._workers, self._server):
            process.join(STALL_SECONDS)
            if process.exitcode != 0:
                raise AssertionError(f"{process.name} ended with {process.exitcode}; logs: {self.folder}")

    def _check(self) -> None:
        for process in (*self._workers, self._server):
            if process.exitcode:
                raise AssertionError(f"{process.name} ended with {process.exitcode}; logs: {self.folder}")


def run_config(folder: Path, rounds: int, workers: int) -> Config:
    """Return the settings of a run that lasts, of the digits at two bits an entry."""
    return Config(
        runs=folder,
        listen="127.0.0.1:0",
        state=folder / "workers",
        task="digits",
        rounds=rounds,
        workers=workers,
        quorum="all",
        batch_size=16,
        heartbeat=0.5,
        checkpoint_every=20,
        evaluate_every=50,
        threads=1,
    )


def serve_one(config: Config, ready: Connection, log: Path) -> None:
    """Be a server."""
    from gradwire_common import logs
    from gradwire_server.app import serve

    _log_to(log)
    logs.configure("info", "server")
    serve(config, ready=ready.send)


def work_one(config: Config, log: Path) -> None:
    """Be a worker."""
    from gradwire_common import logs
    from gradwire_worker.runner import run_worker

    _log_to(log)
    logs.configure("info", config.worker_id or "worker")
    run_worker(config)


def _log_to(log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def preload() -> None:
    """Let the processes that follow begin with torch in memory."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    _context.set_forkserver_preload(["end_to_end.preloaded"])


def schedule(rng: random.Random, **counts: int) -> list[str]:
    """Return as many disturbances of each kind, in random order."""
    kinds = [kind for kind in KINDS for _ in range(counts[kind])]
    rng.shuffle(kinds)
    return kinds


def assert_nothing_was_lost(got: Outcome, undisturbed: Outcome, workers: int) -> None:
    """The same bits, every round once, each with the pushes of all workers."""
    assert got.rounds == undisturbed.rounds == list(range(1, len(undisturbed.rounds) + 1))
    assert got.contributors == undisturbed.contributors == {workers}
    assert got.weights == undisturbed.weights, "the weights differ from those of the undisturbed run"


def disturbed_runs(folder: Path, kinds: Sequence[str], per_run: int, workers: int, seed: int) -> Iterator[Outcome]:
    """Yield runs until all of `kinds` have been done, each compared with the undisturbed run of as many rounds."""
    rounds = ROUNDS_PER_DISTURBANCE * per_run + LEFT_ALONE
    rng = random.Random(seed)
    undisturbed = World(folder / "undisturbed", rounds, workers, rng).run(())
    left = list(kinds)
    for number in itertools.count():
        if not left:
            return
        got = World(folder / f"run-{number}", rounds, workers, rng).run(left[:per_run])
        assert_nothing_was_lost(got, undisturbed, workers)
        del left[: got.disturbances.total()]
        yield got


def main() -> None:
    """Do as many disturbances as asked, and say what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for kind in KINDS:
        parser.add_argument(f"--{kind}", type=int, default=200, help=f"disturbances of a {kind} (200)")
    parser.add_argument("--per-run", type=int, default=30, help="disturbances in one run (30)")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    preload()
    kinds = schedule(random.Random(arguments.seed), **{kind: getattr(arguments, kind) for kind in KINDS})
    began, done, restarts, runs = time.monotonic(), Counter[str](), list[float](), 0
    with tempfile.TemporaryDirectory(prefix="gradwire-chaos-") as folder:
        for got in disturbed_runs(Path(folder), kinds, arguments.per_run, arguments.workers, arguments.seed):
            runs += 1
            done += got.disturbances
            restarts += got.restart_seconds
            print(f"run {runs}: {dict(done)} of {len(kinds)}, the same bits", flush=True)
    figures = {
        "runs": runs,
        **{f"{kind}_disturbances": done[kind] for kind in KINDS},
        "different": 0,
        "seconds": round(time.monotonic() - began, 1),
        "server_restart_s_max": round(max(restarts, default=0.0), 2),
    }
    print(json.dumps(figures))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
