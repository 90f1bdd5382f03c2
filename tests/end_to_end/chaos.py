"""Runs that are disturbed at random, again and again, compared with one that is left alone.

With a quorum of all workers and no deadline, every run must end by itself with the bits of the undisturbed one,
whatever was killed, cut, held up or full meanwhile.
"""

import argparse
import itertools
import json
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from end_to_end.processes import preload
from end_to_end.unordered import disturbed
from end_to_end.world import LEFT_ALONE, Outcome, World

KINDS = {  # kind -> how many of it `make chaos` makes
    "server": 200,
    "worker": 200,
    "link": 200,
    "half": 25,
    "delay": 25,
    "answer": 25,
    "pause": 25,
    "disk": 25,
}
ROUNDS_PER_DISTURBANCE = 5
UNORDERED = 60  # disturbances of the asynchronous mode
UNORDERED_KINDS = ("server", "worker", "link", "half", "answer")
SILENT_ROUNDS = 20  # before the kill whose cost is measured


def schedule(rng: random.Random, **counts: int) -> list[str]:
    """Return as many disturbances of each kind, in random order."""
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    rng.shuffle(kinds)
    return kinds


def assert_nothing_was_lost(got: Outcome, undisturbed: Outcome, workers: int) -> None:
    """The same bits, every round once, each with the pushes of all workers."""
    assert got.rounds == undisturbed.rounds == list(range(1, len(undisturbed.rounds) + 1))
    assert got.contributors == undisturbed.contributors == {workers}
    assert got.weights == undisturbed.weights, "the weights differ from those of the undisturbed run"


def disturbed_runs(
    folder: Path, kinds: Sequence[str], per_run: int, workers: int, seed: int, **changes: Any
) -> Iterator[Outcome]:
    """Yield runs until all of `kinds` have been done, each compared with the undisturbed run of as many rounds.

    `changes` are of the settings of `run_config`.
    """
    size = {"rounds": ROUNDS_PER_DISTURBANCE * per_run + LEFT_ALONE, "workers": workers, **changes}
    rng = random.Random(seed)
    with World(folder / "undisturbed", rng, **size) as world:
        undisturbed = world.run()
    left = list(kinds)
    for number in itertools.count():
        if not left:
            return
        with World(folder / f"run-{number}", rng, **size) as world:
            got = world.run(left[:per_run])
        assert_nothing_was_lost(got, undisturbed, workers)
        del left[: got.disturbances.total()]
        yield got


def seconds_lost_to_a_killed_worker(folder: Path) -> float:
    """Return for how long no version comes when one of three workers is killed and the other two are the quorum."""
    rng = random.Random(0)
    with World(folder, rng, rounds=0, workers=3, quorum=2, heartbeat=2.0) as world:
        world.wait_for(SILENT_ROUNDS)
        victim = world.workers.pop()
        victim.kill()
        began = time.monotonic()
        victim.join()
        world.wait_for(world.version() + 2)  # the next one may have had the push of the dead
        return time.monotonic() - began


def figures_of(outcomes: Iterable[Outcome]) -> dict[str, float]:
    """Return what the runs together came to."""
    done: defaultdict[str, int] = defaultdict(int)
    recoveries: defaultdict[str, list[float]] = defaultdict(list)
    restarts: list[float] = []
    runs = rounds = repeated = 0
    for got in outcomes:
        runs, rounds, repeated = runs + 1, rounds + len(got.rounds), repeated + got.repeated
        restarts += got.restarts
        for kind, count in got.disturbances.items():
            done[kind] += count
            recoveries[kind] += got.recoveries[kind]
    return {
        "runs": runs,
        "rounds": rounds,
        "different": 0,  # a run that differs ends the program
        **{f"{kind}_disturbances": done[kind] for kind in KINDS},
        "repeated_pushes": repeated,
        "server_restart_s_median": round(statistics.median(restarts or [0.0]), 2),
        "server_restart_s_max": round(max(restarts, default=0.0), 2),
        **{f"{kind}_recovery_s_median": round(statistics.median(recoveries[kind] or [0.0]), 2) for kind in KINDS},
        **{f"{kind}_recovery_s_max": round(max(recoveries[kind], default=0.0), 2) for kind in KINDS},
    }


def unordered_kinds(n: int, seed: int) -> list[str]:
    """Return `n` disturbances for the asynchronous mode, in random order."""
    kinds = list(itertools.islice(itertools.cycle(UNORDERED_KINDS), n))
    random.Random(seed).shuffle(kinds)
    return kinds


def main() -> None:
    """Do as many disturbances as asked, and say what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for kind, count in KINDS.items():
        what = str(getattr(World, f"disturb_{kind}").__doc__).rstrip(".").lower()
        parser.add_argument(f"--{kind}", type=int, default=count, metavar="N", help=f"{what} ({count} times)")
    parser.add_argument("--asynchronous", type=int, default=UNORDERED, metavar="N", help=f"in that mode ({UNORDERED})")
    parser.add_argument("--per-run", type=int, default=40, metavar="N", help="disturbances in one run (40)")
    parser.add_argument("--workers", type=int, default=3, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    arguments = parser.parse_args()
    preload()
    kinds = schedule(random.Random(arguments.seed), **{kind: getattr(arguments, kind) for kind in KINDS})
    began = time.monotonic()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="gradwire-chaos-") as folder:
        lost = seconds_lost_to_a_killed_worker(Path(folder) / "killed")
        for got in disturbed_runs(Path(folder), kinds, arguments.per_run, arguments.workers, arguments.seed):
            outcomes.append(got)
            done = sum(outcome.disturbances.total() for outcome in outcomes)
            took = time.monotonic() - began
            print(f"run {len(outcomes)}: {done} of {len(kinds)} after {took:.0f} s, the same bits", flush=True)
        kinds = unordered_kinds(arguments.asynchronous, arguments.seed)
        unordered: list[Outcome] = []
        for got in disturbed(Path(folder), kinds, arguments.per_run, arguments.workers, arguments.seed):
            unordered.append(got)
            print(f"asynchronous run {len(unordered)}: {got.disturbances.total()}, all promises kept", flush=True)
    figures = {
        **figures_of(outcomes),
        "killed_worker_s": round(lost, 2),
        "asynchronous_disturbances": sum(got.disturbances.total() for got in unordered),
        "asynchronous_versions": sum(len(got.rounds) for got in unordered),
        "seconds": round(time.monotonic() - began, 1),
    }
    for name, value in figures.items():
        print(f"{name:26} {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
