"""`gradwire status`: what one Status reply says, as tables, lists or JSON."""

import json
import math
from collections.abc import Callable
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from gradwire.local.monitor import Monitor
from gradwire.views.console import open_console
from gradwire.views.display import NOTHING
from gradwire.views.history import RECENT_ROUNDS, mean
from gradwire.views.metrics import curves, direction, written
from gradwire.views.rates import least_limit, rate_of, rate_text
from gradwire_common.errors import UnavailableError
from gradwire_common.identity.access import NO_ACCESS, Access
from gradwire_common.units import format_seconds, format_size
from gradwire_common.v1 import parameter_server_pb2 as pb

WIDEST = 10_000  # columns; more than any table has


def show_status(
    address: str,
    *,
    worker_id: str | None = None,
    timeout: float = 5.0,
    access: Access = NO_ACCESS,
    as_json: bool = False,
) -> None:
    """Print the status of the run that the server at `address` holds, for people or as JSON.

    Raises:
        IdentityError, RightsError: the server does not let this caller ask.
        UnavailableError, AddressError: if it cannot be reached, or `worker_id` is given and no such worker is alive.
    """
    with Monitor(address, timeout, access) as monitor:
        reply = monitor.poll()
        while reply.records and (newer := monitor.poll(reply.records[-1].round)).records:
            reply = newer
    alive = sorted(worker.worker_id for worker in reply.workers if worker.alive)
    if worker_id is not None and worker_id not in alive:
        raise UnavailableError(f"worker {worker_id!r} is not alive, want one of {', '.join(alive) or 'none'}")
    if as_json:
        print(json.dumps(status_figures(reply), indent=2))
        return
    console = open_console()
    console.print(Group(run_table(reply), workers_view(reply, console)) if reply.workers else run_table(reply))
    for worker in reply.workers:
        if worker.refused:
            console.print(f"{worker.worker_id}: the last refused push: {worker.refused_reason}", soft_wrap=True)


def run_table(reply: pb.StatusReply) -> Table:
    """Return what concerns the run as a whole."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("run", reply.run)
    table.add_row("phase", reply.phase)
    table.add_row("round", f"{reply.version} of {reply.rounds or 'no end'}")
    drawn = f", {reply.sampled} in each round" if reply.sampled else ""
    table.add_row("workers", f"{sum(worker.alive for worker in reply.workers)} alive, {reply.slots} expected{drawn}")
    if reply.paused:
        table.add_row("paused", reply.paused)
    for each in reply.removed:
        table.add_row("removed", f"{each.worker_id}, {each.reason}")
    if reply.HasField("wait"):
        table.add_row("waiting for", f"{reply.wait.what}, for {reply.wait.seconds:.0f} s")
    if reply.HasField("privacy"):
        told = reply.privacy
        table.add_row("privacy", f"epsilon {told.epsilon:.3g}, delta {told.delta:g} (noise {told.noise_multiplier:g})")
    table.add_row("parameters", f"{reply.parameters:,}")
    table.add_row("up for", f"{reply.seconds:.0f} s")
    if reply.records:
        newest = reply.records[-1]
        table.add_row("train loss", NOTHING if math.isnan(newest.loss) else f"{newest.loss:.4f}")
        table.add_row("bits per entry", f"{newest.bits_up:.2f} up, {newest.bits_down:.2f} down")
        for way in ("up", "down"):
            if rate := rate_text(reply.records[-RECENT_ROUNDS:], way, least_limit(reply.workers, way)):
                table.add_row(f"rate {way}", rate)
        if left := _seconds_left(reply):
            table.add_row("time left", f"about {format_seconds(left)}")
    for name, curve in curves(reply.evaluations).items():
        table.add_row(f"test {name}", f"{written(name, curve.last)} (round {curve.versions[-1]}), {direction(curve)}")
    table.add_row("server", f"gradwire {reply.package_version}")
    return table


def workers_table(reply: pb.StatusReply) -> Table:
    """Return one row a worker; token buckets and budgets have columns only where they made somebody wait or spend."""
    workers = sorted(reply.workers, key=lambda each: each.slot)
    table, columns = Table(), []
    for title, said, cell in _COLUMNS:
        if any(map(said, workers)):
            table.add_column(title, overflow="fold")
            columns.append(cell)
    for worker in workers:
        table.add_row(*(cell(worker) for cell in columns))
    return table


def workers_view(reply: pb.StatusReply, console: Console) -> RenderableType:
    """Return the workers as a table where it fits `console`, otherwise as a list."""
    table = workers_table(reply)
    options = console.options.update(width=WIDEST)
    if Measurement.get(console, options, table).maximum <= console.width:
        return table
    lines = []
    for worker in sorted(reply.workers, key=lambda each: each.slot):
        lines.append(Text(f"{worker.worker_id}, slot {worker.slot}: {_state(worker)}"))
        told = [f"{title} {cell(worker)}" for title, said, cell in _COLUMNS[len(_HEAD) :] if said(worker)]
        lines.append(Text.assemble("  ", (", ".join(told), "dim")))
    return Group(Text(), *lines)


def status_figures(reply: pb.StatusReply) -> dict[str, Any]:
    """Return what a reply says as `--format json` writes it: amounts in bytes, seconds and bytes per second."""
    newest = reply.records[-1] if reply.records else None
    recent = reply.records[-RECENT_ROUNDS:]
    return {
        "run": reply.run,
        "phase": reply.phase,
        "round": reply.version,
        "rounds": reply.rounds or None,
        "workers_alive": sum(worker.alive for worker in reply.workers),
        "workers_expected": reply.slots,
        "workers_a_round": reply.sampled or None,
        "waiting_for": reply.wait.what or None,
        "waiting_seconds": reply.wait.seconds,
        "paused": reply.paused or None,
        "parameters": reply.parameters,
        "seconds": reply.seconds,
        "seconds_left": _seconds_left(reply),
        "train_loss": None if newest is None or math.isnan(newest.loss) else newest.loss,
        "bits_up": newest.bits_up if newest else None,
        "bits_down": newest.bits_down if newest else None,
        "rate_up": rate_of(recent, "up"),
        "rate_down": rate_of(recent, "down"),
        "metrics": {
            name: {"last": curve.last, "round": curve.versions[-1], "lower_is_better": curve.lower_is_better}
            for name, curve in curves(reply.evaluations).items()
        },
        "workers": [
            {field.name: _plain(getattr(worker, field.name)) for field in worker.DESCRIPTOR.fields}
            for worker in reply.workers
        ],
        "server": reply.package_version,
    }


def _seconds_left(reply: pb.StatusReply) -> float | None:
    pace = mean([record.seconds for record in reply.records[-RECENT_ROUNDS:]])
    return None if pace is None or reply.version >= reply.rounds else pace * (reply.rounds - reply.version)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, which knows no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _always(_: pb.WorkerStatus) -> bool:
    return True


def _state(worker: pb.WorkerStatus) -> str:
    if not worker.alive:
        return worker.gone or "gone"
    if worker.quarantined:
        return "quarantined"
    return "alive, not waited for: it sends no pushes" if worker.left_out else "alive"


def _budget_used(worker: pb.WorkerStatus) -> str:
    return f"{worker.spent / worker.budget:.1%} of {format_size(worker.budget)}" if worker.budget else NOTHING


def _loss(worker: pb.WorkerStatus) -> str:
    return f"{worker.loss:.4f}" if math.isfinite(worker.loss) and worker.pushes else NOTHING


def _clipped(worker: pb.WorkerStatus) -> str:
    return f"{worker.clipped} pushes, to {worker.clip_scale:.1%}" if worker.clipped else NOTHING


# title, whether a worker has anything to say in the column, and what
Column = tuple[str, Callable[[pb.WorkerStatus], object], Callable[[pb.WorkerStatus], str]]
_HEAD: list[Column] = [
    ("worker", _always, lambda worker: worker.worker_id),
    ("slot", _always, lambda worker: str(worker.slot)),
    ("state", _always, _state),
]
_COLUMNS: list[Column] = [
    *_HEAD,
    ("last round", _always, lambda worker: str(worker.last_round)),
    ("samples", lambda worker: worker.samples, lambda worker: f"{worker.samples:,}"),
    ("loss", lambda worker: worker.pushes and math.isfinite(worker.loss), _loss),
    ("sent", _always, lambda worker: format_size(worker.bytes_up)),
    ("received", _always, lambda worker: format_size(worker.bytes_down)),
    ("slowed up", lambda worker: worker.limited_up, lambda worker: f"{worker.limited_up:.1f} s"),
    ("slowed down", lambda worker: worker.limited_down, lambda worker: f"{worker.limited_down:.1f} s"),
    ("budget used", lambda worker: worker.budget, _budget_used),
    ("refused", lambda worker: worker.refused, lambda worker: str(worker.refused)),
    ("clipped", lambda worker: worker.clipped, _clipped),
    ("outlying", lambda worker: worker.outlying, lambda worker: f"{worker.outlying} pushes"),
]
