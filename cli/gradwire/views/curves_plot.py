"""curves.png: the metrics of a run's evaluations against rounds and against bytes sent, beside its baseline."""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gradwire.views.history import History
from gradwire.views.metrics import Curve
from gradwire_common.metrics import is_fraction
from gradwire_common.private_files import make_empty

MAX_METRICS_DRAWN = 6  # one row of panels each
MANY_TICKS = 50  # where the axis of bytes spans more than this factor, ticks at 2 and 5 would touch
LOGARITHMIC = 100  # where all means are positive and span more than this factor, the axis is logarithmic
STYLES: list[dict[str, Any]] = [{"color": "#d1495b", "zorder": 3}, {"color": "#5b7083", "linestyle": "--"}]


def draw_curves(path: Path, histories: Sequence[History]) -> None:
    """Draw a row of two panels for each of the first metrics, and in each a line for each history, as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import MaxNLocator

    names = list(dict.fromkeys(name for history in histories for name in history.metrics))
    drawn = names[:MAX_METRICS_DRAWN]
    rows = max(1, len(drawn))
    size = (10, 1 + 3 * rows)
    figure, panels = plt.subplots(
        rows, 2, figsize=size, sharex="col", sharey="row", squeeze=False, layout="constrained"
    )
    for name, (by_round, by_bytes) in zip(drawn, panels, strict=False):
        _draw_metric(name, by_round, by_bytes, histories)
    for axes in panels.flat:
        axes.grid(alpha=0.3, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    by_round, by_bytes = panels[-1]
    by_round.set_xlabel("round")
    by_round.xaxis.set_major_locator(MaxNLocator(integer=True))
    by_bytes.set(xlabel="bytes sent to the server, all workers", xscale="log")
    _label_sizes(by_bytes)
    if drawn:
        panels[0, 0].legend(frameon=False, loc="best")
    else:
        by_round.set_ylabel("no evaluation")
    if len(names) > len(drawn):
        figure.suptitle(f"{len(names) - len(drawn)} more metrics are in metrics.jsonl", fontsize="small")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # of a name whose letters the font lacks: drawn as boxes
        make_empty(path)
        figure.savefig(path, dpi=150)
    plt.close(figure)


def _draw_metric(name: str, by_round: Any, by_bytes: Any, histories: Sequence[History]) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter

    curves = [history.metrics.get(name) for history in histories]
    for history, curve, style in zip(histories, curves, STYLES, strict=False):
        versions, means = (curve.versions, curve.means) if curve else ([], [])
        sent = [sum(each.bytes_up for each in history.rounds if each.round <= version) for version in versions]
        look = {"linewidth": 1.8, "marker": "o", "markersize": 3.5, "label": history.label} | style
        by_round.plot(versions, means, **look)
        moved = [(n_bytes, mean) for n_bytes, mean in zip(sent, means, strict=True) if n_bytes]
        by_bytes.plot(*zip(*moved, strict=True) if moved else ((), ()), **look)
    by_round.set_ylabel(f"test {name}", parse_math=False)
    if is_fraction(name):
        by_round.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    elif _spans_decades(curve for curve in curves if curve):
        by_round.set_yscale("log")
        by_round.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        by_round.yaxis.set_minor_formatter(NullFormatter())


def _spans_decades(curves: Iterable[Curve]) -> bool:
    means = [mean for curve in curves for mean in curve.means]
    return min(means) > 0 and max(means) > LOGARITHMIC * min(means)


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
