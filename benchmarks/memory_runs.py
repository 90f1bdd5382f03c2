"""What one server process takes of memory: with more and more workers, and with a model of 3 GB."""

import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gradwire_common.units import parse_size
from load_run import LoadRun, load_run, model

PARAMETERS = 10_000_000
LARGE = 750_000_000  # parameters, 3 GB
WORKERS = (1, 16, 64)
MOMENTUM = {"momentum": 0.9}
BITS = 0.2  # of a small model's pushes, so that many of them take no minutes
CAP = "64 MiB"  # of pushes and updates
MIB = 1 << 20


def memory_runs(parameters: int = PARAMETERS, workers: Sequence[int] = WORKERS, rounds: int = 3) -> dict[str, Any]:
    """Measure runs of momentum SGD with ever more workers; print them and return the figures.

    What is wanted: at the peak less than three models, the optimizer's state and the cap above the idle process, and
    less than 1 MiB for each further worker.
    """
    allowed = 4 * 4 * parameters + parse_size(CAP)
    print(f"{parameters} parameters, SGD with momentum; allowed above the idle process: {allowed / MIB:.0f} MiB")
    runs = []
    for n in workers:
        run = _run(parameters, n, rounds=rounds, bits=BITS, memory=CAP, optimizer_options=MOMENTUM)
        runs.append(_figures(run))
        print(f"{n:5} workers: {runs[-1]['above_idle_mib']:.0f} MiB above {runs[-1]['idle_mib']:.0f}, lost {run.lost}")
    growth = [
        (after["above_idle_mib"] - before["above_idle_mib"]) / (after["workers"] - before["workers"])
        for before, after in itertools.pairwise(runs)
    ]
    for after, each in zip(runs[1:], growth, strict=True):
        print(f"up to {after['workers']} workers: {each:.2f} MiB for each further one")
    return {"allowed_mib": allowed / MIB, "runs": runs, "mib_per_worker": growth}


def large_run(parameters: int = LARGE) -> dict[str, Any]:
    """Train one round of a large model with one worker and plain SGD; print and return what it took."""
    run = _run(parameters, 1, rounds=1, bits=BITS, memory="1 GiB", optimizer_options={}, checkpoint_every=0)
    found = {**_figures(run), "parameters": parameters, "seconds": run.report["seconds"]}
    found["round_s"] = run.rounds[0]["seconds"]
    print(
        f"{parameters} parameters, 1 worker: {found['above_idle_mib']:.0f} MiB above {found['idle_mib']:.0f}; "
        f"{found['seconds']:.0f} s from the first call to the end, of which {found['round_s']:.0f} s after the weights"
    )
    return found


def _run(parameters: int, workers: int, **settings: Any) -> LoadRun:
    with tempfile.TemporaryDirectory(prefix="gradwire-memory-") as folder:
        run = load_run(Path(folder) / "run", model(parameters), workers, **settings)
    for line in run.tally.errors[:5]:
        print(f"    {line}")
    return run


def _figures(run: LoadRun) -> dict[str, Any]:
    return {
        "workers": run.workers,
        "lost": run.lost,
        "duplicates": run.duplicates,
        "errors": len(run.tally.errors),
        "idle_mib": run.report["idle_rss"] / MIB,
        "above_idle_mib": run.peak_above_idle / MIB,
    }
