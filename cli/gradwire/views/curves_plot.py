"""curves.png: training loss and metrics of a run against rounds, bytes both ways and seconds, beside its baseline."""

import math
import warnings
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from gradwire.views.history import RECENT_ROUNDS, History
from gradwire.views.metrics import direction
from gradwire_common.metrics import is_fraction
from gradwire_common.private_files import make_empty

MAX_METRICS_DRAWN = 6  # one row of panels each
MANY_TICKS = 50  # where the axis of bytes spans more than this factor, ticks at 2 and 5 would touch
LOGARITHMIC = 100  # where all means are positive and span more than this factor, the axis is logarithmic
AXES = {
    "round": "round",
    "bytes_up": "bytes to the server, all workers",
    "bytes_down": "bytes from the server, all workers",
    "seconds": "seconds",
}  # what a panel's axis is, by field of a round's record
STYLES: list[dict[str, Any]] = [{"color": "#d1495b", "zorder": 3}, {"color": "#5b7083", "linestyle": "--"}]


@dataclass(frozen=True, slots=True)
class Line:
    """Values of one history, by version."""

    versions: Sequence[int]
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Measure:
    """What a row of panels shows: a line for each history."""

    title: str
    lines: Sequence[Line]
    fraction: bool = False
    markers: bool = True


def draw_curves(path: Path, histories: Sequence[History], title: str = "") -> None:
    """Draw the training loss and the first metrics against rounds, bytes both ways and seconds, as a PNG.

    Args:
        path: where the picture goes.
        histories: a run, and what it is compared with; a line each.
        title: of the whole; the label of the first when not given.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names = list(dict.fromkeys(name for history in histories for name in history.metrics))
    drawn = [_loss(histories), *(_metric(name, histories) for name in names[:MAX_METRICS_DRAWN])]
    drawn = [each for each in drawn if any(line.values for line in each.lines)] or drawn[:1]
    size = (4 * len(AXES), 1 + 3 * len(drawn))
    figure, panels = plt.subplots(
        len(drawn), len(AXES), figsize=size, sharex="col", sharey="row", squeeze=False, layout="constrained"
    )
    for measure, row in zip(drawn, panels, strict=True):
        _draw_row(measure, row, histories)
    for axes, column in zip(AXES, panels.T, strict=True):
        _label(axes, column[-1])
    panels[0, 0].legend(frameon=False, loc="best")
    more = f"; {len(names) - MAX_METRICS_DRAWN} more metrics are in metrics.jsonl"
    figure.suptitle((title or histories[0].label) + (more if len(names) > MAX_METRICS_DRAWN else ""), parse_math=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # of a name whose letters the font lacks: drawn as boxes
        make_empty(path)
        figure.savefig(path, dpi=110)
    plt.close(figure)


def _loss(histories: Sequence[History]) -> Measure:
    """Return the training loss, its mean over RECENT_ROUNDS rounds."""
    lines = []
    for history in histories:
        known = [record for record in history.rounds if math.isfinite(record.loss)]
        newest = [known[max(0, n - RECENT_ROUNDS + 1) : n + 1] for n in range(len(known))]
        means = [sum(record.loss for record in each) / len(each) for each in newest]
        lines.append(Line([record.round for record in known], means))
    return Measure("train loss", lines, markers=False)


def _metric(name: str, histories: Sequence[History]) -> Measure:
    curves = [history.metrics.get(name) for history in histories]
    lines = [Line(curve.versions, curve.means) if curve else Line([], []) for curve in curves]
    better = next(direction(curve) for curve in curves if curve)
    return Measure(f"test {name}\n({better})", lines, fraction=is_fraction(name))


def _draw_row(measure: Measure, row: Any, histories: Sequence[History]) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter

    for history, line, style in zip(histories, measure.lines, STYLES, strict=False):
        look = {"linewidth": 1.6, "label": history.label} | style
        if measure.markers:
            look |= {"marker": "o", "markersize": 3.5}
        for name, axes in zip(AXES, row, strict=True):
            places = _places(name, history, line.versions)
            moved = [each for each in zip(places, line.values, strict=True) if each[0] or name == "round"]
            axes.plot(*zip(*moved, strict=True) if moved else ((), ()), **look)
    for axes in row:
        axes.grid(alpha=0.3, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    row[0].set_ylabel(measure.title, parse_math=False)
    if measure.fraction:
        row[0].yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    elif _spans_decades(measure.lines):
        row[0].set_yscale("log")
        row[0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        row[0].yaxis.set_minor_formatter(NullFormatter())


def _places(axis: str, history: History, versions: Sequence[int]) -> list[float]:
    """Return where versions lie on an axis: their rounds, or what had passed by then, of bytes or seconds."""
    if axis == "round":
        return [float(version) for version in versions]
    rounds = [record.round for record in history.rounds]
    passed = list(accumulate((getattr(record, axis) for record in history.rounds), initial=0.0))
    return [passed[bisect_right(rounds, version)] for version in versions]


def _label(name: str, axes: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel(AXES[name])
    if name == "round":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    elif name != "seconds" and any(len(line.get_xdata()) for line in axes.lines):
        axes.set_xscale("log")
        _label_sizes(axes)


def _spans_decades(lines: Sequence[Line]) -> bool:
    values = [value for line in lines for value in line.values]
    return bool(values) and min(values) > 0 and max(values) > LOGARITHMIC * min(values)


def _label_sizes(axes: Any) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    left, right = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if right < MANY_TICKS * left else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short_size(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _short_size(n_bytes: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= factor:
            return f"{n_bytes / factor:g} {unit}"
    return f"{n_bytes:g} B"
