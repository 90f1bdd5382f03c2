"""What is left when a run is over: a table beside the baseline, the same as JSON, and a picture of both."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from gradwire.views.display import NOTHING
from gradwire.views.history import LAST_EVALUATIONS, History
from gradwire_common.errors import UsageError
from gradwire_common.units import format_size

MANY_TICKS = 50  # where the axis spans more than this factor, ticks at 2 and 5 would touch


def figures(run: History, baseline: History | None = None) -> dict[str, Any]:
    """Return the figures of a run and of its baseline, as `--json` writes them.

    Accuracies are fractions: `accuracy` is that of the last evaluation, hence of the weights that the run leaves;
    `mean_accuracy` the mean of the last five. `bytes_up` and `bytes_down` are what the wire carried for all rounds and
    workers, framing included; `bits_up` and `bits_down` the same per entry, worker and round. `seconds` are from the
    first weights to the last round. Keys with `baseline_` are null where no baseline was run.
    """
    return (
        _figures(run, "") | _figures(baseline, "baseline_") | {"rounds": run.last_round, "parameters": run.parameters}
    )


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write figures to a file.

    Raises:
        UsageError: if the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values, indent=2) + "\n", "utf-8")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; want a file that can be written") from None


def summary_table(run: History, baseline: History | None = None) -> Table:
    """Return the table that a run ends with."""
    table = Table(title_justify="left", header_style="bold")
    table.add_column("")
    for history in filter(None, (run, baseline)):
        table.add_column(history.label, justify="right")
    if baseline:
        table.add_column("difference", justify="right")
    for name, value, write, compare in _ROWS:
        ours = value(run)
        cells = [_cell(ours, write)]
        if baseline:
            theirs = value(baseline)
            cells += [_cell(theirs, write), NOTHING if ours is None or theirs is None else compare(ours, theirs)]
        table.add_row(name, *cells)
    return table


def draw_curves(path: Path, histories: Sequence[History]) -> None:
    """Draw test accuracy against rounds and against bytes sent, a line for each history, as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

    figure, (by_round, by_bytes) = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    styles: list[dict[str, Any]] = [{"color": "#d1495b", "zorder": 3}, {"color": "#5b7083", "linestyle": "--"}]
    for history, style in zip(histories, styles, strict=False):
        versions = [each.version for each in history.evaluations]
        accuracies = [each.accuracy for each in history.evaluations]
        sent = [sum(each.bytes_up for each in history.rounds if each.round <= version) for version in versions]
        look = {"linewidth": 1.8, "marker": "o", "markersize": 3.5, "label": history.label} | style
        by_round.plot(versions, accuracies, **look)
        moved = [(n_bytes, accuracy) for n_bytes, accuracy in zip(sent, accuracies, strict=True) if n_bytes]
        by_bytes.plot(*zip(*moved, strict=True) if moved else ((), ()), **look)
    by_round.set(xlabel="round", ylabel="test accuracy")
    by_round.xaxis.set_major_locator(MaxNLocator(integer=True))
    by_round.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    by_bytes.set(xlabel="bytes sent to the server, all workers", xscale="log")
    left, right = by_bytes.get_xlim()
    by_bytes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if right < MANY_TICKS * left else (1,)))
    by_bytes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short_size(value)))
    by_bytes.xaxis.set_minor_formatter(NullFormatter())
    for axes in (by_round, by_bytes):
        axes.grid(alpha=0.3, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    if any(history.evaluations for history in histories):
        by_round.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _figures(history: History | None, prefix: str) -> dict[str, Any]:
    names = ["accuracy", "mean_accuracy", "bytes_up", "bytes_down", "bytes_setup", "bits_up", "bits_down", "seconds"]
    return {prefix + name: getattr(history, name, None) for name in names}


def _cell(value: float | None, write: Callable[[float], str]) -> str:
    return NOTHING if value is None else write(value)


def _points(run: float, baseline: float) -> str:
    return f"{100 * (run - baseline):+.2f} points"


def _times_less(run: float, baseline: float) -> str:
    return f"{baseline / run:.1f}x less" if run else NOTHING


def _times(run: float, baseline: float) -> str:
    return f"{run / baseline:.2f}x" if baseline else NOTHING


def _short_size(n_bytes: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= factor:
            return f"{n_bytes / factor:g} {unit}"
    return f"{n_bytes:g} B"


_ROWS: list[tuple[str, Callable[[History], float | None], Callable[[float], str], Callable[[float, float], str]]] = [
    ("test accuracy, last", lambda run: run.accuracy, "{:.2%}".format, _points),
    (f"test accuracy, mean of last {LAST_EVALUATIONS}", lambda run: run.mean_accuracy, "{:.2%}".format, _points),
    ("bytes up", lambda run: run.bytes_up, format_size, _times_less),
    ("bytes down", lambda run: run.bytes_down, format_size, _times_less),
    ("bits per entry, up", lambda run: run.bits_up, "{:.3f}".format, _times_less),
    ("bits per entry, down", lambda run: run.bits_down, "{:.3f}".format, _times_less),
    ("rounds", lambda run: run.last_round, "{:.0f}".format, lambda *_: ""),
    ("seconds", lambda run: run.seconds, "{:.1f}".format, _times),
]
