"""The live display of a run: a picture that changes on a terminal, a line every so often elsewhere."""

import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gradwire.views.history import History
from gradwire.views.metrics import mean_of, written
from gradwire.views.rates import rate_text
from gradwire_common.units import format_size
from gradwire_common.v1 import parameter_server_pb2 as pb

FLOAT32_BITS = 32
SECONDS_BETWEEN_LINES = 1.0
ROUNDS_BETWEEN_LINES = 10
MAX_METRICS_SHOWN = 6  # while a run lasts, so that the picture fits a terminal; tables and files have all
NOTHING = "-"  # stands where there is no figure yet


class Display(Protocol):
    """Shows the progress of a run."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def show(self, history: History) -> None:
        """Show the newest state of a run."""


def open_display(console: Console) -> Display:
    """Return the display that suits where the output goes."""
    return LiveDisplay(console) if console.is_terminal and not console.is_dumb_terminal else LineDisplay(console)


class LiveDisplay:
    """Redraws one picture in place."""

    def __init__(self, console: Console):
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, traceback)

    def show(self, history: History) -> None:
        """Draw the picture again."""
        self._live.update(picture(history), refresh=True)


class LineDisplay:
    """Prints a line when ten rounds and a second have passed, and at the run's last round."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic):
        self._console = console
        self._clock = clock
        self._printed_at = -SECONDS_BETWEEN_LINES
        self._printed_round = -ROUNDS_BETWEEN_LINES

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def show(self, history: History) -> None:
        """Print a line, where one is due."""
        now, newest = self._clock(), history.last_round
        due = newest - self._printed_round >= ROUNDS_BETWEEN_LINES and now - self._printed_at >= SECONDS_BETWEEN_LINES
        last = newest == history.total > self._printed_round
        if due or last:
            self._printed_at, self._printed_round = now, newest
            self._console.print(line(history), soft_wrap=True)


def picture(history: History) -> RenderableType:
    """Return the live picture of a run."""
    head = Table.grid(padding=(0, 2))
    head.add_row(
        Text(history.label, style="bold"),
        _round(history),
        ProgressBar(total=history.total or None, completed=history.last_round, width=30, pulse=not history.total),
        Text(_eta(history), style="cyan"),
    )
    figures = Table.grid(padding=(0, 2))
    figures.add_column(style="dim", justify="right", min_width=14, max_width=26, overflow="fold")
    figures.add_row("train loss", _number(history.loss, ".4f"))
    for name, value in _metrics(history):
        figures.add_row(name, value)
    figures.add_row("up", _traffic(history, "up"))
    figures.add_row("down", _traffic(history, "down"))
    for way in ("up", "down"):
        if rate := rate_text(history.recent, way, getattr(history, f"limit_{way}")):
            figures.add_row(f"rate {way}", rate)
    if budget := _budget(history):
        figures.add_row("budget", budget)
    figures.add_row("time", _split(history))
    if history.waiting_for:
        figures.add_row("waiting for", history.waiting_for)
    return Group(head, figures)


def line(history: History) -> str:
    """Return one line about the newest round."""
    if not history.rounds:
        return f"{history.label}: {history.phase}"
    newest = history.rounds[-1]
    return "  ".join(
        [
            f"{history.label}: {_round(history)}",
            f"train loss {_number(history.loss, '.4f')}",
            *_newest_metrics(history),
            f"up {newest.bits_up:.2f} bits/entry ({FLOAT32_BITS / (newest.bits_up or FLOAT32_BITS):.1f}x)",
            f"down {newest.bits_down:.2f} bits/entry ({FLOAT32_BITS / (newest.bits_down or FLOAT32_BITS):.1f}x)",
            *filter(None, [_budget(history) and f"budget {_budget(history)}"]),
            _split(history),
            _eta(history),
        ]
    )


def _round(history: History) -> str:
    if not history.rounds:
        return history.phase
    total = f"{history.last_round:>{len(str(history.total))}}/{history.total}" if history.total else history.last_round
    return f"round {total}"


def _number(value: float | None, form: str) -> str:
    return NOTHING if value is None else format(value, form)


def _metrics(history: History) -> Iterator[tuple[str, str]]:
    """Yield a row for each of the first metrics, with its newest mean."""
    metrics = list(history.metrics.values())
    for curve in metrics[:MAX_METRICS_SHOWN]:
        yield f"test {curve.name}", f"{written(curve.name, curve.last)} (round {curve.versions[-1]})"
    if len(metrics) > MAX_METRICS_SHOWN:
        yield "", f"and {len(metrics) - MAX_METRICS_SHOWN} more metrics"


def _newest_metrics(history: History) -> Iterator[str]:
    """Yield the first metrics of the newest evaluation in one text; nothing before the first evaluation."""
    for newest in history.evaluations[-1:]:
        texts = [f"{metric.name} {written(metric.name, mean_of(metric))}" for metric in newest.metrics]
        more = f" and {len(texts) - MAX_METRICS_SHOWN} more" if len(texts) > MAX_METRICS_SHOWN else ""
        yield f"test {', '.join(texts[:MAX_METRICS_SHOWN])}{more} (round {newest.version})"


def _traffic(history: History, direction: str) -> str:
    """Return bits per entry, ratio and bytes so far in one direction."""
    if not history.rounds:
        return NOTHING
    bits = getattr(history.rounds[-1], f"bits_{direction}")
    ratio = f"{FLOAT32_BITS / bits:.1f}x smaller than float32  " if bits else ""
    return f"{bits:.2f} bits/entry  {ratio}{format_size(getattr(history, f'bytes_{direction}'))}"


def _budget(history: History) -> str:
    """Return budget used / allowed in the newest round; nothing where there is none."""
    newest = history.rounds[-1] if history.rounds else pb.RoundRecord()
    used = {"up": (newest.spent, newest.budget), "down": (newest.payload_down, newest.budget_down)}
    return ", ".join(
        f"{direction} {format_size(spent)} / {format_size(budget)} ({spent / budget:.1%})"
        for direction, (spent, budget) in used.items()
        if budget
    )


def _split(history: History) -> str:
    """Return how long a round takes and the shares of what workers do in it."""
    if not history.rounds:
        return NOTHING
    times = history.split()
    groups = {
        "compute": times["compute"],
        "encode": times["copy"] + times["fit"] + times["encode"],
        "send": times["send"],
        "wait": times["wait"],
    }
    whole = sum(groups.values()) or 1.0
    shares = "  ".join(f"{name} {seconds / whole:.0%}" for name, seconds in groups.items())
    return f"{1000 * sum(record.seconds for record in history.recent) / len(history.recent):.0f} ms a round: {shares}"


def _eta(history: History) -> str:
    eta = history.eta
    return "" if eta is None else f"{round(eta) // 60}:{round(eta) % 60:02d} left"
