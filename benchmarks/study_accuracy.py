"""Accuracy after the same rounds: arms of a study against its baseline, each over several seeds.

    python benchmarks/study_accuracy.py benchmarks/studies/cifar10_one_bit.toml --data PATH --seeds 3

Every run is a `gradwire train` of its own. A run whose result is there already is not run again, so a study can be
interrupted. Accuracy is the mean of a run's last five evaluations; differences are paired by seed.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from statistics import fmean, stdev

from gradwire_common.units import format_size


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="TOML file with [settings], [arms.NAME] and the baseline's name")
    parser.add_argument("--data", type=Path, help="data of the task; without it a study that needs any is skipped")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0 to n - 1")
    parser.add_argument("--runs", type=Path, default=Path("runs/studies"), help="folder of the runs")
    parser.add_argument("--json", type=Path, help="write the table here too")
    parser.add_argument("--plot", type=Path, help="draw accuracy against rounds and bytes here")
    options = parser.parse_args()

    study = tomllib.loads(options.study.read_text())
    if study["settings"].get("task") == "cifar10" and not (options.data and options.data.exists()):
        print(f"skipped: {options.study.stem} needs CIFAR-10; name its folder or .npz with --data")
        return 0
    runs = options.runs / options.study.stem
    results = {
        arm: [
            train(study, arm, seed, options.data, runs)
            for seed in range(study["arms"][arm].get("seeds", options.seeds))
        ]
        for arm in study["arms"]
    }
    rows = [row(arm, results[arm], results[study["baseline"]]) for arm in results]
    print_table(rows)
    if options.json:
        options.json.write_text(json.dumps({"study": options.study.stem, "arms": rows}, indent=2) + "\n")
    if options.plot:
        draw(options.plot, runs, {arm: len(each) for arm, each in results.items()})
    return 0


def train(study: dict, arm: str, seed: int, data: Path | None, runs: Path) -> dict:
    """Train one arm with one seed, unless its result is there, and return the figures that `--json` wrote."""
    name = run_name(arm, seed)
    result = runs / f"{name}.json"
    if not result.exists():
        settings = study["settings"] | {key: value for key, value in study["arms"][arm].items() if key != "seeds"}
        config = runs / f"{name}.toml"
        runs.mkdir(parents=True, exist_ok=True)
        config.write_text("".join(f"{key} = {to_toml(value)}\n" for key, value in settings.items()))
        print(f"training {arm}, seed {seed}", flush=True)
        command = [sys.executable, "-m", "gradwire", "train", "--config", config, "--runs", runs, "--name", name]
        command += ["--seed", str(seed), "--json", result, *(["--data", data] if data else [])]
        with (runs / f"{name}.log").open("w") as log:
            subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT, env=os.environ)
    return json.loads(result.read_text())


def run_name(arm: str, seed: int) -> str:
    return f"{arm.replace(' ', '-').replace(',', '')}-seed{seed}"


def to_toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {to_toml(each)}" for key, each in value.items()) + " }"
    return json.dumps(value)


def row(arm: str, runs: list[dict], baseline: list[dict]) -> dict:
    """Return the figures of one arm: accuracy, the paired difference to the baseline with its standard error, costs."""
    differences = [
        100 * (run["mean_accuracy"] - base["mean_accuracy"]) for run, base in zip(runs, baseline, strict=False)
    ]
    return {
        "arm": arm,
        "seeds": len(runs),
        "accuracy_percent": 100 * fmean(run["mean_accuracy"] for run in runs),
        "difference_points": fmean(differences),
        "standard_error_points": stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else None,
        "bits_up": fmean(run["bits_up"] for run in runs),
        "bits_down": fmean(run["bits_down"] for run in runs),
        "bytes_up": fmean(run["bytes_up"] for run in runs),
        "bytes_down": fmean(run["bytes_down"] for run in runs),
        "seconds": fmean(run["seconds"] for run in runs),
    }


def print_table(rows: list[dict]) -> None:
    columns = ["seeds", "accuracy", "difference", "bits up", "down", "up", "down", "s"]
    widths = [5, 9, 16, 8, 6, 10, 10, 6]
    print(f"{'arm':24}", *(f"{column:>{width}}" for column, width in zip(columns, widths, strict=True)))
    for each in rows:
        error = each["standard_error_points"]
        difference = f"{each['difference_points']:+.2f}" + ("" if error is None else f" ± {error:.2f}")
        print(
            f"{each['arm']:24} {each['seeds']:5} {each['accuracy_percent']:7.2f} % {difference:>16} "
            f"{each['bits_up']:8.3f} {each['bits_down']:6.3f} {format_size(each['bytes_up']):>10} "
            f"{format_size(each['bytes_down']):>10} {each['seconds']:6.0f}"
        )


def draw(path: Path, runs: Path, seeds: dict[str, int]) -> None:
    """Draw the arms' accuracies, the mean over seeds and their range, against rounds and against bytes moved."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (by_round, by_bytes) = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for arm, n_seeds in seeds.items():
        curves = [curve(runs / run_name(arm, seed) / "metrics.jsonl") for seed in range(n_seeds)]
        versions = [version for version, _, _ in curves[0]]
        accuracies = [[100 * accuracy for _, _, accuracy in each] for each in curves]
        middle, low, high = ([reduce(at) for at in zip(*accuracies, strict=True)] for reduce in (fmean, min, max))
        moved = [fmean(n_bytes) / 1e6 for n_bytes in zip(*([n for _, n, _ in each] for each in curves), strict=True)]
        for axes, places in ((by_round, versions), (by_bytes, moved)):
            (line,) = axes.plot(places, middle, label=f"{arm} ({n_seeds} seeds)", linewidth=1.8)
            axes.fill_between(places, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    by_round.set(xlabel="round", ylabel="test accuracy, %")
    by_bytes.set(xlabel="MB moved, up and down, all workers", xscale="log")
    for axes in (by_round, by_bytes):
        axes.grid(alpha=0.3, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    by_round.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=150)


def curve(metrics: Path) -> list[tuple[int, int, float]]:
    """Return (version, bytes moved until then, accuracy) for every evaluation of a run."""
    records = [json.loads(line) for line in metrics.read_text().splitlines()]
    rounds = [each for each in records if each["kind"] == "round"]
    points = []
    for each in records:
        if each["kind"] == "evaluation":
            moved = sum(r["bytes_up"] + r["bytes_down"] for r in rounds if r["round"] <= each["version"])
            points.append((each["version"], moved, each["accuracy"]))
    return sorted(points)


if __name__ == "__main__":
    sys.exit(main())
