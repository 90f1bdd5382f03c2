"""Accuracy on the digits where 2 of 8 workers lie, by what they push and by how the server aggregates.

    python benchmarks/study_attacks.py --seeds 3 --json FILE

Each cell is the mean over the seeds, and the rounds in which the status named the liars: clipped to under half of
their norm, outlying, or refused; honest workers' mean number of these stands behind the slash.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

from adversaries import LIES, Data, Outcome, run
from gradwire_common.v1 import parameter_server_pb2 as pb

EQUAL = '{"weights": "equal"}'
RULES: dict[str, dict[str, Any]] = {
    "mean": {},
    "mean of equal weights, clip_norm median": {"aggregation_options": EQUAL, "clip_norm": "median"},
    "trimmed_mean": {"aggregation": "trimmed_mean"},
    "median": {"aggregation": "median"},
    "krum": {"aggregation": "krum"},
    "multi_krum": {"aggregation": "multi_krum"},
}
HALF = 0.5  # a worker whose pushes are clipped to less than that on the mean is named


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0 to n - 1")
    parser.add_argument("--rounds", type=int, default=150, help="of each run")
    parser.add_argument("--batch", type=int, default=256, help="images of each gradient")
    parser.add_argument("--own-shards", action="store_true", help="give each worker an eighth of the images, not all")
    parser.add_argument("--lies", nargs="+", choices=list(LIES), default=list(LIES), help="what liars push")
    parser.add_argument("--json", type=Path, help="write the table here too")
    options = parser.parse_args()

    data = Data(options.batch, options.own_shards)
    table: dict[str, dict[str, dict[str, float]]] = {}
    for rule, settings in RULES.items():
        for lie in options.lies:
            with tempfile.TemporaryDirectory() as folder:
                runs = [
                    run(Path(folder) / str(seed), lie, seed, data, rounds=options.rounds, **settings)
                    for seed in range(options.seeds)
                ]
            table.setdefault(rule, {})[lie] = figures(runs)
            print(f"{rule}, {lie}: {table[rule][lie]}", file=sys.stderr, flush=True)
    print_table(table)
    if options.json:
        options.json.write_text(json.dumps(table, indent=2) + "\n")
    return 0


def named(worker: pb.WorkerStatus) -> int:
    """Return how many pushes of a worker the status names it for."""
    clipped = worker.clipped if worker.clip_scale < HALF else 0
    return max(clipped, worker.outlying, worker.refused)


def figures(runs: list[Outcome]) -> dict[str, float]:
    """Return the mean accuracy in percent, and how often liars and honest workers were named."""
    liars = [named(worker) for outcome in runs for name, worker in outcome.named.items() if name.startswith("liar")]
    honest = [named(worker) for outcome in runs for name, worker in outcome.named.items() if name.startswith("hon")]
    return {
        "accuracy": 100 * fmean(outcome.accuracy for outcome in runs),
        "liars_named": fmean(liars) if liars else 0.0,
        "honest_named": fmean(honest),
    }


def print_table(table: dict[str, dict[str, dict[str, float]]]) -> None:
    """Print a row for each rule, in Markdown."""
    lies = list(next(iter(table.values())))
    print("| aggregation | " + " | ".join(lies) + " |")
    print("|---" * (len(lies) + 1) + "|")
    for rule, by_lie in table.items():
        cells = [
            f"{each['accuracy']:.1f} ({each['liars_named']:.0f}/{each['honest_named']:.0f})" for each in by_lie.values()
        ]
        print(f"| {rule} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    sys.exit(main())
