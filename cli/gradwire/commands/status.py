"""`gradwire status`: one table from one Status reply."""

import math

from rich.console import Group
from rich.table import Table

from gradwire.local.monitor import Monitor
from gradwire.views.console import open_console
from gradwire.views.display import NOTHING
from gradwire.views.metrics import curves, written
from gradwire_common.errors import UnavailableError
from gradwire_common.units import format_size
from gradwire_common.v1 import parameter_server_pb2 as pb


def show_status(address: str, *, worker_id: str | None = None, timeout: float = 5.0) -> None:
    """Print the status of the run that the server at `address` holds.

    Raises:
        UnavailableError, AddressError: if it cannot be reached, or `worker_id` is given and no such worker is alive.
    """
    with Monitor(address, timeout) as monitor:
        reply = monitor.poll()
        while reply.records and (newer := monitor.poll(reply.records[-1].round)).records:
            reply = newer
    alive = sorted(worker.worker_id for worker in reply.workers if worker.alive)
    if worker_id is not None and worker_id not in alive:
        raise UnavailableError(f"worker {worker_id!r} is not alive, want one of {', '.join(alive) or 'none'}")
    open_console().print(Group(run_table(reply), workers_table(reply)) if reply.workers else run_table(reply))


def run_table(reply: pb.StatusReply) -> Table:
    """Return what concerns the run as a whole."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_row("run", reply.run)
    table.add_row("phase", reply.phase)
    table.add_row("round", f"{reply.version} of {reply.rounds or 'no end'}")
    table.add_row("workers", f"{sum(worker.alive for worker in reply.workers)} alive, {reply.slots} expected")
    if reply.HasField("wait"):
        table.add_row("waiting for", f"{reply.wait.what}, for {reply.wait.seconds:.0f} s")
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
    """Return one row a worker."""
    table = Table(
        "worker", "slot", "state", "last round", "sent", "received", "slowed up", "slowed down", "budget used"
    )
    for worker in sorted(reply.workers, key=lambda each: each.slot):
        table.add_row(
            worker.worker_id,
            str(worker.slot),
            "alive" if worker.alive else "gone",
            str(worker.last_round),
            format_size(worker.bytes_up),
            format_size(worker.bytes_down),
            f"{worker.limited_up:.1f} s",
            f"{worker.limited_down:.1f} s",
            f"{worker.spent / worker.budget:.1%} of {format_size(worker.budget)}" if worker.budget else NOTHING,
        )
    return table
