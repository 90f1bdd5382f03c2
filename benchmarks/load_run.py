"""One run under load: a server process, workers in processes beside it, and what both tell afterwards."""

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gradwire.local.lifeline import PARENT, die_with_parent
from gradwire_common.identity.kits import SERVER_FOLDER, init, issue
from gradwire_common.identity.names import Identity, Role
from gradwire_common.layout.manifest import Manifest, TensorSpec
from gradwire_common.methods.method import Method
from gradwire_common.settings.config import Config
from light_worker import Tally, name_of, work
from run_records import rounds_of

SERVER = Path(__file__).parent / "sampled_server.py"
END_SECONDS = 60.0  # for a server to end after its workers have


@dataclass
class LoadRun:
    """What came of a run.

    Attributes:
        rounds: the server's records of its rounds.
        report: what `sampled_server` wrote.
        tally: what the workers were told.
    """

    workers: int
    rounds: list[dict[str, Any]]
    report: dict[str, Any]
    tally: Tally

    @property
    def contributions(self) -> int:
        """Pushes in all rounds together."""
        return sum(record["contributors"] for record in self.rounds)

    @property
    def lost(self) -> int:
        """Pushes that are in no round although a receipt says that they count, or that were never asked for."""
        return max(self.tally.counted, self.workers * len(self.rounds)) - self.contributions

    @property
    def duplicates(self) -> int:
        """Pushes that are in a round more often than receipts say."""
        return max(0, self.contributions - self.tally.counted)

    @property
    def seconds(self) -> list[float]:
        """Of every round but the first, which waits for all to join."""
        return [record["seconds"] for record in self.rounds[1:]]

    @property
    def peak_above_idle(self) -> int:
        """Bytes of memory at the peak, above those of the idle server."""
        return int(self.report["peak_rss"] - self.report["idle_rss"])


def model(parameters: int) -> Manifest:
    """Return a model of so many parameters: matrices of at most 4 Mi entries, and a small rest."""
    sizes = [4 << 20] * (parameters >> 22)
    rest = parameters - sum(sizes)
    sizes += [rest - rest % 1000, rest % 1000] if rest > 5000 else [rest]
    return Manifest(tuple(TensorSpec(f"layer{i}.weight", (size,)) for i, size in enumerate(sizes) if size))


def load_run(
    folder: Path, manifest: Manifest, workers: int, processes: int = 1, *, certified: bool = False, **settings: Any
) -> LoadRun:
    """Serve one run with `workers` workers in so many processes until it ends. All of them end with this process."""
    os.environ[PARENT] = str(os.getpid())
    folder.mkdir(parents=True)
    certs = make_kits(folder / "certs", map(name_of, range(workers))) if certified else None
    config = Config(
        **{
            "runs": folder,
            "workers": workers,
            "listen": "127.0.0.1:0",
            "quorum": "all",
            "evaluate_every": 0,
            "certs": certs / SERVER_FOLDER if certs else None,
            **settings,
        }
    )
    toml, report = folder / "load.toml", folder / "report.json"
    toml.write_text(config.to_toml())
    with (folder / "server.log").open("wb") as log:
        command = [sys.executable, str(SERVER), str(toml), str(report)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        if not port:
            raise RuntimeError((folder / "server.log").read_text())
        tally = _work(f"127.0.0.1:{port}", manifest, config.uplink, workers, processes, certs)
        server.wait(END_SECONDS)
    finally:
        server.kill()
        server.wait()
    return LoadRun(workers, rounds_of(folder / config.name), json.loads(report.read_text()), tally)


def make_kits(folder: Path, names: Iterable[str]) -> Path:
    """Make the kits of a server on this machine and of workers; return their folder."""
    now = datetime.now(UTC)
    init(folder, ["127.0.0.1"], now)
    for name in names:
        issue(folder, Identity(Role.WORKER, name), now)
    return folder


def _work(address: str, manifest: Manifest, method: Method, workers: int, processes: int, certs: Path | None) -> Tally:
    processes = min(processes, workers)
    tally, first = Tally(), 0
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=die_with_parent) as pool:
        futures = []
        for index in range(processes):
            n = workers * (index + 1) // processes - first
            futures.append(pool.submit(work, address, manifest, method, first, n, certs))
            first += n
        for future in futures:
            tally.add(future.result())
    return tally
