"""`gradwire runs`: the runs of a folder, as a list or some of them side by side."""

import json
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from gradwire.views.console import open_console
from gradwire.views.display import NOTHING
from gradwire.views.history import History
from gradwire.views.metrics import direction, written
from gradwire.views.report import comparison_table, figures
from gradwire_common.errors import UsageError
from gradwire_common.units import format_seconds, format_size
from gradwire_server.store.run_folder import CONFIG, METRICS, WEIGHTS, in_use

UNRECORDED = ("parameters", "bytes_setup")  # figures that no record has
COLUMNS = ("run", "changed", "state", "round", "metric", "up", "down", "took")


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run that is on the disk.

    Attributes:
        name: as `--name` gave it; with /baseline where it is the float32 run of another.
        changed: when its records were last written, in seconds since 1970.
        state: "running", "ended" or "stopped", the last where it has fewer rounds than it was to have.
        history: what its metrics.jsonl has.
        weights: its weights; None where there are none yet.
    """

    name: str
    changed: float
    state: str
    history: History
    weights: Path | None


def show_runs(folder: Path, names: Sequence[str], *, as_json: bool = False) -> None:
    """Print the runs of `folder`, most recent first; with names, the figures of those side by side.

    Raises:
        UsageError: there is no such run.
    """
    console = open_console()
    if names:
        chosen = [_found(folder / name, name) for name in names]
        if as_json:
            print(json.dumps({run.name: figures_of(run) for run in chosen}, indent=2))
            return
        console.print(comparison_table([run.history for run in chosen]))
        for run in chosen:
            if run.weights is not None:
                console.print(f'{run.name}: gradwire.load_weights(model, "{run.weights}")', soft_wrap=True)
        return
    runs = find_runs(folder)
    if as_json:
        print(json.dumps({run.name: figures_of(run) for run in runs}, indent=2))
    elif not runs:
        console.print(f"there are no runs in {folder}; gradwire train makes one", soft_wrap=True)
    else:
        console.print(list_of(runs, console))


def find_runs(folder: Path) -> list[FoundRun]:
    """Return the runs in `folder` and their baselines, most recent first."""
    paths = [path.parent for path in [*folder.glob(f"*/{CONFIG}"), *folder.glob(f"*/baseline/{CONFIG}")]]
    found = [_found(path, str(path.relative_to(folder))) for path in paths]
    return sorted(found, key=lambda run: -run.changed)


def figures_of(run: FoundRun) -> dict[str, Any]:
    """Return the figures of a run, those of `gradwire train --json`, with its state and files."""
    known = figures(run.history).items()
    own = {name: value for name, value in known if not name.startswith("baseline_") and name not in UNRECORDED}
    weights = str(run.weights) if run.weights else None
    return {"state": run.state, "changed": run.changed, "total": run.history.total or None, "weights": weights, **own}


def list_of(runs: Sequence[FoundRun], console: Console) -> RenderableType:
    """Return a table of runs where it fits `console`, otherwise two lines for each."""
    rows = [_row(run) for run in runs]
    table = Table(header_style="bold")
    for title in COLUMNS:
        table.add_column(title, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    if Measurement.get(console, console.options.update(width=10_000), table).maximum <= console.width:
        return table
    text = Text()
    for name, changed, state, round_, metric, up, down, took in rows:
        text.append(f"{name}: {state}, round {round_}, {metric}\n")
        text.append(f"  {changed}, {took}, {up} up, {down} down\n", "dim")
    text.rstrip()
    return text


def _found(path: Path, name: str) -> FoundRun:
    if not (path / METRICS).is_file():
        raise UsageError(f"{path}: is no run; `gradwire runs` lists those there are")
    total = _rounds(path / CONFIG)
    history = History(name, total=total)
    history.read(path / METRICS)
    running = in_use(path)
    state = "running" if running else "stopped" if history.last_round < total else "ended"
    weights = path / WEIGHTS
    return FoundRun(name, (path / METRICS).stat().st_mtime, state, history, weights if weights.is_file() else None)


def _rounds(config: Path) -> int:
    """Return the rounds that a run was to have; 0 where its settings cannot be read or name none."""
    try:
        rounds = tomllib.loads(config.read_text("utf-8"))["run"]["rounds"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    return rounds if isinstance(rounds, int) else 0


def _row(run: FoundRun) -> tuple[str, ...]:
    history = run.history
    curve = next(iter(history.metrics.values()), None)
    loss = NOTHING if history.loss is None else f"train loss {history.loss:#.4g}"
    return (
        run.name,
        time.strftime("%Y-%m-%d %H:%M", time.localtime(run.changed)),
        run.state,
        f"{history.last_round}/{history.total}" if history.total else str(history.last_round),
        loss if curve is None else f"{curve.name} {written(curve.name, curve.last)} ({direction(curve)})",
        format_size(history.bytes_up),
        format_size(history.bytes_down),
        format_seconds(history.seconds),
    )
