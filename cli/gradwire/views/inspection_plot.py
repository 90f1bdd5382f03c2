"""The picture of `gradwire inspect`: the largest tensors under their fits, and predictions beside what was achieved."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from gradwire.views.inspected import Inspected
from gradwire_common.foreign_text import printable

N_SHOWN = 6  # tensors whose entries are drawn, the largest ones
N_BINS = 121
N_PREDICTED = 1000  # entries from which a tensor is set beside its prediction; the header outweighs smaller ones
SHOWN_SHARE = 0.999  # of a tensor's entries that lie inside its drawn range
DATA, FIT = "#9fb3c8", "#d1495b"


def draw_inspection(path: Path, inspected: Sequence[Inspected]) -> None:
    """Draw the picture as a PNG.

    Raises:
        OSError: if it cannot be written.
    """
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    shown = sorted(inspected, key=lambda each: -each.values.size)[:N_SHOWN]
    n_columns = 3
    n_rows = -(-len(shown) // n_columns)
    figure = plt.figure(figsize=(11, 2.6 * n_rows + 4), layout="constrained")
    grid = figure.add_gridspec(n_rows + 1, 6, height_ratios=[*[1] * n_rows, 1.5])
    for place, each in enumerate(shown):
        row, column = divmod(place, n_columns)
        _draw_density(figure.add_subplot(grid[row, 2 * column : 2 * column + 2]), each)
    _draw_prediction(figure.add_subplot(grid[n_rows, :3]), inspected, "bits", "bits per entry")
    _draw_prediction(figure.add_subplot(grid[n_rows, 3:]), inspected, "nmse", "NMSE")
    figure.savefig(path, dpi=130, format="png")
    plt.close(figure)


def _draw_density(axes: Any, each: Inspected) -> None:
    """Draw the histogram of a tensor and the density of its fit, on a logarithmic scale."""
    reach = float(np.quantile(np.abs(each.values), SHOWN_SHARE)) or float(np.abs(each.values).max()) or 1.0
    borders = np.linspace(-reach, reach, N_BINS + 1)
    counts = np.histogram(each.values, borders)[0] / (each.values.size * np.diff(borders))
    axes.stairs(counts, borders, fill=True, color=DATA, label="entries")
    x = np.linspace(-reach, reach, 401)
    axes.plot(x, each.model.density(x), color=FIT, linewidth=1.5, label="GenNorm fit")
    if counts.any():
        axes.set_yscale("log")
        axes.set_ylim(counts[counts > 0].min() / 2, counts.max() * 3)
    axes.set_title(f"{_shortened(each.name)}   beta {each.model.beta:.2f}", fontsize=9, loc="left")
    axes.tick_params(labelsize=7)
    axes.ticklabel_format(axis="x", style="sci", scilimits=(-2, 3))
    axes.xaxis.get_offset_text().set_fontsize(7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=6.5, frameon=False, loc="upper left")


def _draw_prediction(axes: Any, inspected: Sequence[Inspected], attribute: str, title: str) -> None:
    """Draw a point for each tensor but small ones: what the fit predicts against what was achieved."""
    inspected = [each for each in inspected if each.values.size >= N_PREDICTED] or inspected
    pairs = [
        (getattr(each, f"predicted_{attribute}"), getattr(each, attribute), each.values.size) for each in inspected
    ]
    known = [(predicted, achieved, size) for predicted, achieved, size in pairs if predicted and achieved]
    axes.set(xlabel=f"{title}, predicted", ylabel=f"{title}, achieved", title=f"{title}: on the line is as predicted")
    for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
        text.set_fontsize(9)
    axes.grid(alpha=0.3, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if not known:
        axes.text(0.5, 0.5, "nothing to predict", ha="center", va="center", transform=axes.transAxes, color="gray")
        return
    predicted, achieved, sizes = (np.array(column) for column in zip(*known, strict=True))
    low, high = 0.8 * min(predicted.min(), achieved.min()), 1.25 * max(predicted.max(), achieved.max())
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.tick_params(labelsize=8)
    axes.plot([low, high], [low, high], color="#5b7083", linewidth=1, linestyle="--")
    axes.scatter(predicted, achieved, s=12 + 90 * sizes / sizes.max(), color=FIT, alpha=0.6, linewidth=0)


def _shortened(name: str, most: int = 30) -> str:
    name = printable(name if len(name) <= most else "…" + name[1 - most :])
    return name.replace("$", r"\$")  # which would begin a formula
