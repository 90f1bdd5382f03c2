"""Accuracy at so many bits: arms of a study against its baseline, each over several seeds.

    python benchmarks/study_accuracy.py benchmarks/studies/cifar10_one_bit.toml --data PATH --seeds 3

Every run is a `gradwire train` of its own. A finished run with the same settings, of this study or of one beside it, is
not run again, so a study can be interrupted. Accuracy is the mean of a run's last five evaluations, or of its
curve as far through the run as the one that it is set against was evaluated; differences are paired by seed, with the
baseline or with the arm that `against` names. Beside it stands the training loss, the mean of a run's last quarter,
which moves less by chance.
"""

import argparse
import json
import math
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from gradwire_common.units import format_size
from study_plot import curve, draw, least_compute, seconds_at_link
from study_runs import Run, run_of

LAST = 5  # evaluations that a run's accuracy is the mean of: one alone moves by a point


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="TOML file with [settings], [arms.NAME] and the baseline's name")
    parser.add_argument("--data", type=Path, help="data of the task; without it a study that needs any is skipped")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0 to n - 1, unless an arm says how many")
    parser.add_argument("--runs", type=Path, default=Path("runs/studies"), help="folder of the studies' runs")
    parser.add_argument("--finished", action="store_true", help="train nothing: the table of the runs that are there")
    parser.add_argument("--json", type=Path, help="write the table here too")
    parser.add_argument("--plot", type=Path, help="draw accuracy against samples, bytes and seconds here")
    options = parser.parse_args()

    study = tomllib.loads(options.study.read_text())
    needs_data = study["settings"].get("task") == "cifar10" and not options.finished
    if needs_data and not (options.data and options.data.exists()):
        print(f"skipped: {options.study.stem} needs CIFAR-10; name its folder or .npz with --data")
        return 0
    runs = options.runs / options.study.stem
    arms: dict[str, dict[int, Run]] = {}
    for arm, own in study["arms"].items():
        for seed in range(own.get("seeds", options.seeds)):
            if run := run_of(study, arm, seed, options.data, runs, only_there=options.finished):
                arms.setdefault(arm, {})[seed] = run
    runs_of = {arm: list(by_seed.values()) for arm, by_seed in arms.items()}
    compute = least_compute(runs_of)
    rows = [row(arm, arms, against(study, arm), compute) for arm in arms]
    print_table(rows, compute)
    if options.json:
        table = {"study": options.study.stem, "seconds_a_step": compute, "arms": rows}
        options.json.write_text(json.dumps(table, indent=2) + "\n")
    if options.plot:
        draw(options.plot, runs_of, compute)
    return 0


def against(study: dict[str, Any], arm: str) -> str:
    return str(study["arms"][arm].get("against", study["baseline"]))


def accuracy(run: Run, other: Run) -> float:
    """Return the mean accuracy, in percent, as far through the run as `other` was at its last evaluations."""
    samples, _, _, percent = zip(*curve(run, 0.0), strict=True)
    of_other = [point[0] for point in curve(other, 0.0)]
    places = np.array(of_other[-LAST:]) / of_other[-1] * samples[-1]
    return float(np.mean(np.interp(places, samples, percent)))


def training_loss(run: Run) -> float:
    """Return the mean training loss of the last quarter of a run's rounds."""
    losses = [record["loss"] for record in run.records if record["kind"] == "round"]
    return fmean(losses[-(len(losses) // 4) :])


def standard_error(differences: Sequence[float]) -> float | None:
    return stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else None


def row(arm: str, arms: dict[str, dict[int, Run]], other: str, compute: float) -> dict[str, Any]:
    """Return the figures of one arm: accuracy, loss, their paired differences with standard errors, costs."""
    runs, others = arms[arm], arms.get(other, {})
    accuracies = {seed: accuracy(run, others.get(seed, run)) for seed, run in runs.items()}
    paired = [
        accuracies[seed] - accuracy(others[seed], others[seed]) for seed in runs if seed in others and arm != other
    ]
    losses = {seed: training_loss(run) for seed, run in runs.items()}
    losses_paired = [losses[seed] - training_loss(others[seed]) for seed in runs if seed in others and arm != other]

    def mean(name: str, of: dict[int, Run] = runs) -> float:
        return fmean(run.figures[name] for run in of.values())

    return {
        "arm": arm,
        "seeds": len(runs),
        "accuracy_percent": fmean(accuracies.values()),
        "last_accuracy_percent": 100 * fmean(run.figures["metrics"]["accuracy"]["last"] for run in runs.values()),
        "against": other,
        "difference_points": fmean(paired) if paired else None,
        "differences_points": paired,
        "standard_error_points": standard_error(paired),
        "training_loss": fmean(losses.values()),
        "training_loss_difference": fmean(losses_paired) if losses_paired else None,
        "training_loss_standard_error": standard_error(losses_paired),
        "bits_up": mean("bits_up"),
        "bits_down": mean("bits_down"),
        "bytes_up": mean("bytes_up"),
        "bytes_down": mean("bytes_down"),
        "bytes_of_other": (mean("bytes_up") + mean("bytes_down"))
        / (mean("bytes_up", others) + mean("bytes_down", others))
        if others
        else None,
        "seconds_at_20_mbit": fmean(seconds_at_link(run, compute) for run in runs.values()),
    }


def print_table(rows: list[dict[str, Any]], compute: float) -> None:
    columns = [
        "seeds",
        "accuracy",
        "difference",
        "loss",
        "difference",
        "bits up",
        "down",
        "up",
        "down",
        "bytes",
        "20 Mbit/s",
    ]
    widths = [5, 9, 14, 6, 15, 8, 6, 10, 10, 7, 9]
    print(f"{'arm':33}", *(f"{column:>{width}}" for column, width in zip(columns, widths, strict=True)))
    for each in rows:
        share = each["bytes_of_other"]
        points = with_error(each["difference_points"], each["standard_error_points"], 2)
        loss = with_error(each["training_loss_difference"], each["training_loss_standard_error"], 3)
        print(
            f"{each['arm']:33} {each['seeds']:5} {each['accuracy_percent']:7.2f} % {points:>14} "
            f"{each['training_loss']:6.3f} {loss:>15} "
            f"{each['bits_up']:8.3f} {each['bits_down']:6.3f} {format_size(each['bytes_up']):>10} "
            f"{format_size(each['bytes_down']):>10} {'' if share is None else format(1 / share, '.1f') + 'x':>7} "
            f"{each['seconds_at_20_mbit']:7.0f} s"
        )
    print(f"differences and bytes against {', '.join(sorted({each['against'] for each in rows}))}; 20 Mbit/s: each")
    print(f"worker's bytes over a link of its own, and {compute:.2f} s a step, as on this machine at its quietest")


def with_error(difference: float | None, error: float | None, digits: int) -> str:
    if difference is None:
        return ""
    return f"{difference:+.{digits}f}" + ("" if error is None else f" ± {error:.{digits}f}")


if __name__ == "__main__":
    sys.exit(main())
