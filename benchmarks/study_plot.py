"""Pictures of a study: accuracy against rounds, bytes, and seconds on a link of 20 Mbit/s."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, quantiles

from study_runs import Run

FEW = 2  # workers, which do not crowd a machine of two cores
LINK = 20e6 / 8  # bytes per second, of each worker's own link in each direction
Point = tuple[float, float, float, float]  # samples seen, bytes moved, seconds at LINK, accuracy in percent


def draw(path: Path, arms: Mapping[str, Sequence[Run]], compute: float) -> None:
    """Draw the arms' accuracies, the mean over seeds and their range, with `compute` seconds a step."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 3, figsize=(13, 4.8), sharey=True, layout="constrained")
    for arm, runs in arms.items():
        curves = [curve(run, compute) for run in runs]
        samples, moved, seconds, middle = ([fmean(at) for at in zip(*each, strict=True)] for each in columns(curves))
        low, high = ([extreme(at) for at in zip(*columns(curves)[3], strict=True)] for extreme in (min, max))
        for axes, places in zip(panels, (samples, moved, seconds), strict=True):
            (line,) = axes.plot(places, middle, label=f"{arm} ({len(runs)} seed{'s' * (len(runs) > 1)})", linewidth=1.6)
            axes.fill_between(places, low, high, color=line.get_color(), alpha=0.13, linewidth=0)
    panels[0].set(xlabel="samples seen, thousands", ylabel="test accuracy, %")
    panels[1].set(xlabel="MB moved, up and down, all workers", xscale="log")
    panels[2].set(xlabel=f"seconds at 20 Mbit/s and {compute:.2f} s a step")
    for axes in panels:
        axes.grid(alpha=0.3, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *panels[0].get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=3, fontsize=8
    )
    figure.savefig(path, dpi=150)


def curve(run: Run, compute: float) -> list[Point]:
    """Return a point for every evaluation of a run.

    Seconds are counted, not measured: `compute` for every step, and each worker's bytes up and then down over a link of
    its own.
    """
    rounds = {each["round"]: each for each in run.records if each["kind"] == "round"}
    steps, workers = max(1, run.settings["local_steps"]), run.settings["workers"]
    points = []
    for each in run.records:
        if each["kind"] == "evaluation":
            before = [record for number, record in rounds.items() if number <= each["version"]]
            moved = sum(record["bytes_up"] + record["bytes_down"] for record in before)
            samples = sum(record["samples"] for record in before) / 1000
            seconds = len(before) * steps * compute + moved / workers / LINK
            points.append((samples, moved / 1e6, seconds, 100 * each["metrics"]["accuracy"]["mean"]))
    return sorted(points)


def columns(curves: Sequence[Sequence[Point]]) -> list[list[list[float]]]:
    """Return for each part of a point that part of all points, by curve."""
    return [[[point[part] for point in points] for points in curves] for part in range(4)]


def least_compute(arms: Mapping[str, Sequence[Run]]) -> float:
    """Return the seconds of a worker's step on the machine at its quietest: the least tenth percentile of the runs."""
    return min(
        float(quantiles([each["worker_times"]["compute"] for each in run.records if each["kind"] == "round"], n=10)[0])
        / max(1, run.settings["local_steps"])
        for runs in arms.values()
        for run in runs
        if run.settings["workers"] == FEW
    )


def seconds_at_link(run: Run, compute: float) -> float:
    """Return the seconds that a run takes at LINK, as `curve` counts them."""
    return curve(run, compute)[-1][2]
