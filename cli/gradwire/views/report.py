"""What is left when a run is over: a table beside the baseline, and the same as JSON."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from gradwire.views.display import NOTHING
from gradwire.views.history import History
from gradwire.views.metrics import LAST_EVALUATIONS, Curve, difference, written
from gradwire_common.errors import UsageError
from gradwire_common.units import format_size

# title, figure of a run, how it is written, how a run is set against its baseline
Row = tuple[str, Callable[[History], float | None], Callable[[float], str], Callable[[float, float], str]]


def figures(run: History, baseline: History | None = None) -> dict[str, Any]:
    """Return the figures of a run and of its baseline, as `--json` writes them.

    `metrics` has those of the evaluations by name: the `last`, hence that of the weights that the run leaves, the mean
    of the last five, the best and its version; accuracies are fractions. `bytes_up` and `bytes_down` are what the wire
    carried for all rounds and workers, framing included; `bits_up` and `bits_down` the same per entry, worker and
    round. `seconds` are from the first weights to the last round. `epsilon` is that of the privacy that noise gave,
    null without. Keys with `baseline_` are null where no baseline was run.
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
    private = [_EPSILON] if run.privacy is not None else []
    for name, value, write, compare in [*_metric_rows(run, baseline), *_ROWS, *private]:
        ours = value(run)
        cells = [_cell(ours, write)]
        if baseline:
            theirs = value(baseline)
            cells += [_cell(theirs, write), NOTHING if ours is None or theirs is None else compare(ours, theirs)]
        table.add_row(name, *cells)
    return table


def comparison_table(runs: list[History]) -> Table:
    """Return a column for each of some runs; of two, how the first differs from the second."""
    if len(runs) == 2:
        return summary_table(*runs)
    table = Table(header_style="bold")
    table.add_column("")
    for history in runs:
        table.add_column(history.label, justify="right")
    rows = {row[0]: row for history in runs for row in [*_metric_rows(history, None), *_ROWS]}
    for name, value, write, _ in sorted(rows.values(), key=lambda row: row in _ROWS):
        table.add_row(name, *(_cell(value(history), write) for history in runs))
    return table


def _figures(history: History | None, prefix: str) -> dict[str, Any]:
    names = ["bytes_up", "bytes_down", "bytes_setup", "bits_up", "bits_down", "seconds", "epsilon"]
    metrics = None if history is None else {name: _of_curve(curve) for name, curve in history.metrics.items()}
    return {f"{prefix}metrics": metrics, **{prefix + name: getattr(history, name, None) for name in names}}


def _of_curve(curve: Curve) -> dict[str, Any]:
    return {
        "last": curve.last,
        "mean_of_last_5": curve.mean_of_last,
        "best": curve.best,
        "best_version": curve.best_version,
        "lower_is_better": curve.lower_is_better,
    }


def _metric_rows(run: History, baseline: History | None) -> Iterator[Row]:
    """Yield three rows for each metric of either run: the last mean, the mean of the last five, and the best."""
    for name, curve in (run.metrics | (baseline.metrics if baseline else {})).items():
        for title, figure in (
            ("last", "last"),
            (f"mean of last {LAST_EVALUATIONS}", "mean_of_last"),
            ("lowest" if curve.lower_is_better else "highest", "best"),
        ):
            value = partial(_metric_figure, name, figure)
            yield f"test {name}, {title}", value, partial(written, name), partial(difference, name)


def _metric_figure(name: str, figure: str, history: History) -> float | None:
    return getattr(history.metrics.get(name), figure, None)


def _cell(value: float | None, write: Callable[[float], str]) -> str:
    return NOTHING if value is None else write(value)


def _times_less(run: float, baseline: float) -> str:
    return f"{baseline / run:.1f}x less" if run else NOTHING


def _times(run: float, baseline: float) -> str:
    return f"{run / baseline:.2f}x" if baseline else NOTHING


_EPSILON: Row = ("privacy, epsilon", lambda run: run.epsilon, "{:.3g}".format, lambda *_: "")
_ROWS: list[Row] = [
    ("bytes up", lambda run: run.bytes_up, format_size, _times_less),
    ("bytes down", lambda run: run.bytes_down, format_size, _times_less),
    ("bits per entry, up", lambda run: run.bits_up, "{:.3f}".format, _times_less),
    ("bits per entry, down", lambda run: run.bits_down, "{:.3f}".format, _times_less),
    ("rounds", lambda run: run.last_round, "{:.0f}".format, lambda *_: ""),
    ("seconds", lambda run: run.seconds, "{:.1f}".format, _times),
]
