"""`gradwire status`: one table from one Status reply."""

import math
from collections.abc import Callable

from rich.console import Group
from rich.table import Table

from gradwire.local.monitor import Monitor
from gradwire.views.console import open_console
from gradwire.views.display import NOTHING
from gradwire.views.metrics import curves, written
from gradwire_common.errors import UnavailableError
from gradwire_common.identity.access import NO_ACCESS, Access
from gradwire_common.units import format_size
from gradwire_common.v1 import parameter_server_pb2 as pb


def show_status(
    address: str, *, worker_id: str | None = None, timeout: float = 5.0, access: Access = NO_ACCESS
) -> None:
    """Print the status of the run that the server at `address` holds.

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
    open_console().print(Group(run_table(reply), workers_table(reply)) if reply.workers else run_table(reply))
    for worker in reply.workers:
        if worker.refused:
            open_console().print(f"{worker.worker_id}: the last refused push: {worker.refused_reason}", soft_wrap=True)


def run_table(reply: pb.StatusReply) -> Table:
    """Return what concerns the run as a whole."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_row("run", reply.run)
    table.add_row("phase", reply.phase)
    table.add_row("round", f"{reply.version} of {reply.rounds or 'no end'}")
    table.add_row("workers", f"{sum(worker.alive for worker in reply.workers)} alive, {reply.slots} expected")
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
    for name, curve in curves(reply.evaluations).items():
        table.add_row(f"test {name}", f"{written(name, curve.last)} (round {curve.versions[-1]})")
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


def _always(_: pb.WorkerStatus) -> bool:
    return True


def _state(worker: pb.WorkerStatus) -> str:
    if not worker.alive:
        return "gone"
    if worker.quarantined:
        return "quarantined"
    return "alive, not waited for: it sends no pushes" if worker.left_out else "alive"


def _budget_used(worker: pb.WorkerStatus) -> str:
    return f"{worker.spent / worker.budget:.1%} of {format_size(worker.budget)}" if worker.budget else NOTHING


def _clipped(worker: pb.WorkerStatus) -> str:
    return f"{worker.clipped} pushes, to {worker.clip_scale:.1%}" if worker.clipped else NOTHING


# title, whether a worker has anything to say in the column, and what
_COLUMNS: list[tuple[str, Callable[[pb.WorkerStatus], object], Callable[[pb.WorkerStatus], str]]] = [
    ("worker", _always, lambda worker: worker.worker_id),
    ("slot", _always, lambda worker: str(worker.slot)),
    ("state", _always, _state),
    ("last round", _always, lambda worker: str(worker.last_round)),
    ("sent", _always, lambda worker: format_size(worker.bytes_up)),
    ("received", _always, lambda worker: format_size(worker.bytes_down)),
    ("slowed up", lambda worker: worker.limited_up, lambda worker: f"{worker.limited_up:.1f} s"),
    ("slowed down", lambda worker: worker.limited_down, lambda worker: f"{worker.limited_down:.1f} s"),
    ("budget used", lambda worker: worker.budget, _budget_used),
    ("refused", lambda worker: worker.refused, lambda worker: str(worker.refused)),
    ("clipped", lambda worker: worker.clipped, _clipped),
    ("outlying", lambda worker: worker.outlying, lambda worker: f"{worker.outlying} pushes"),
]
