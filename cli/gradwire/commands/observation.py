"""Commands that look at runs and change nothing: status, runs."""

from pathlib import Path
from typing import Annotated

import typer

from gradwire.commands.administration import Certs, ServerAddress, Timeout, TokenFile
from gradwire_common.errors import UsageError
from gradwire_common.identity.access import Access
from gradwire_common.units import named, parse_seconds

FormatName = Annotated[str, typer.Option("--format", metavar="table|json", help="for people, or for programs")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (status, runs):
        app.command()(command)


def status(
    address: ServerAddress,
    worker_id: Annotated[
        str | None, typer.Option("--worker", metavar="ID", help="succeed only if this worker is alive in the run")
    ] = None,
    certs: Certs = None,
    token_file: TokenFile = None,
    form: FormatName = "table",
    timeout: Timeout = "5",
) -> None:
    """Show a run: its rounds, its workers, its bytes. Fails where no server answers."""
    from gradwire.commands.status import show_status

    seconds = named("timeout", parse_seconds, timeout)
    access = Access(certs, token_file)
    show_status(address, worker_id=worker_id, timeout=seconds, access=access, as_json=_is_json(form))


def runs(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="runs to set side by side; all are listed without")
    ] = None,
    folder: Annotated[
        Path, typer.Option("--runs", metavar="PATH", envvar="GRADWIRE_RUNS", help="folder of the runs' results")
    ] = Path("runs"),
    form: FormatName = "table",
) -> None:
    """List the runs of this folder, or compare some of them."""
    from gradwire.commands.runs import show_runs

    show_runs(folder, names or [], as_json=_is_json(form))


def _is_json(form: str) -> bool:
    if form not in ("table", "json"):
        raise UsageError(f"format: got {form!r}, want table or json")
    return form == "json"
