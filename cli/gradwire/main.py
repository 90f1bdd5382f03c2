"""The command line: parses, loads settings, calls one function, and turns errors into one line."""

import logging
import os
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from gradwire.commands import administration, certs, study
from gradwire.commands.administration import Certs, ServerAddress, Timeout, TokenFile
from gradwire.ending import end_at_once, end_in_order
from gradwire.exit_codes import FAILED, INTERRUPTED, MISUSED
from gradwire.help import PlainApp
from gradwire.options import with_settings
from gradwire.views import streams
from gradwire_common import __version__, logs
from gradwire_common.errors import GradwireError, UsageError
from gradwire_common.foreign_text import printable
from gradwire_common.temporary import settle_temporary_folder
from gradwire_common.units import named, parse_seconds

if TYPE_CHECKING:
    from gradwire_common.settings.config import Config

PROVES = ("certs", "tokens", "token_file", "insecure")  # settings of who may call; a local run's sockets are private

OWN = (
    "server",
    "worker_id",
    "token_file",
    "slot",
    "device",
    "threads",
    "pace",
    "state",
    "patience",
    "data",
)  # workers'
LOADING = "loading torch and the codec's kernels; the first time they are compiled, which takes half a minute or more"
FormatName = Annotated[str, typer.Option("--format", metavar="table|json", help="for people, or for programs")]

app = PlainApp(
    help="Train one PyTorch model on many machines with thin links.",
    epilog="Every setting may also stand in a TOML file (--config FILE) or in a variable such as GRADWIRE_BITS.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(certs.app, name="certs")
app.add_typer(study.app, name="study")


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"gradwire {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Train one PyTorch model on many machines with thin links."""


@app.command()
@with_settings(
    "run",
    "coding",
    "server",
    "worker",
    "task",
    without=("listen", *PROVES, "reflection", "server", "worker_id", "slot"),
    first=("task", "data", "model", "workers", "rounds", "batch_size", "bits", "optimizer", "lr", "name", "resume"),
    again=True,
)
def train(
    config: "Config",
    compare: Annotated[
        bool, typer.Option("--compare", help="train the float32 baseline of the same seed too, set both side by side")
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="write the final figures to this file")
    ] = None,
    link: Annotated[
        str | None,
        typer.Option(
            metavar="LINK", help="each worker's link: '20 Mbit/s, 50 ms', adsl, 4g, satellite, 'wireless: ...'"
        ),
    ] = None,
) -> None:
    """Train on this machine: one server and some worker processes, over real gRPC."""
    from gradwire.commands.train import run_train

    end_in_order()
    run_train(config, compare=compare, json_file=json_file, link=link)


@app.command()
@with_settings(
    "run",
    "coding",
    "server",
    "worker",
    "task",
    without=OWN,
    first=("listen", "workers", "rounds", "bits", "optimizer", "lr", "rate_up", "rate_down", "name", "resume"),
)
def server(config: "Config") -> None:
    """Serve a run: hold the weights, gather gradients, broadcast updates. Settings of workers are handed to them."""
    logs.configure(config.log_level, "server")
    logging.getLogger("gradwire").info(LOADING)
    from gradwire.local.length import served_rounds
    from gradwire.local.lifeline import inherited_lock
    from gradwire.surroundings import read_surroundings, server_settings
    from gradwire.views.invitation import invitation
    from gradwire_server.app import serve

    config = server_settings(config, read_surroundings())
    config = served_rounds(config, logging.getLogger("gradwire.server").info)
    lock = inherited_lock()

    def ready(port: int) -> None:
        address = replace(config.listen, port=port)
        print(f"listening on {address}", flush=True)
        if lock is None:  # the workers of gradwire train are its own
            print(f"a worker: {invitation(config, address)}", flush=True)

    serve(config, ready=ready, lock=lock)
    end_at_once()
    if lock is None:  # gradwire train draws its own
        from gradwire.views.left import leave_curves

        leave_curves(config.runs / config.name, str(config.uplink))


@app.command()
@with_settings(
    "run",
    "worker",
    "task",
    without=("name", "runs", "rounds", "epochs", "total_samples", "workers", "evaluate_every"),
    first=("server", "task", "data", "model", "batch_size", "worker_id", "slot", "local_steps", "device", "state"),
)
def worker(config: "Config") -> None:
    """Work for a server: compute gradients on a shard of the data and push them."""
    from gradwire.surroundings import read_surroundings, worker_settings

    around = read_surroundings()
    config = worker_settings(config, around)
    logs.configure(config.log_level, config.worker_id or "worker")
    logging.getLogger("gradwire").info(LOADING)
    from gradwire_common.settings.types import FROM_INPUT
    from gradwire_worker.runner import run_worker

    if config.server == FROM_INPUT:  # so that a local cluster's workers can get ready while its server does
        config = config.replaced(server=sys.stdin.readline().strip())
    run_worker(config, joining=end_in_order, node=around.place)


@app.command()
@with_settings(
    "run",
    "coding",
    "server",
    "worker",
    "task",
    without=("server", "worker_id", "slot", "tokens", "token_file"),
    first=("task", "data", "model", "workers", "rounds", "batch_size", "bits", "optimizer", "lr", "name", "resume"),
)
def launch(
    config: "Config",
    on: Annotated[
        str | None,
        typer.Option(
            "--on",
            metavar="NAME",
            help="local, slurm or ray: start the nodes there; else a launcher has started this one",
        ),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="KEY=VALUE", help="for that launcher: partition=gpu, num_gpus=1"),
    ] = None,
) -> None:
    """Serve and work by what torchrun, srun, SkyPilot or a JobSet started; or start it, on Slurm or Ray."""
    from gradwire.commands.launch import run_launch

    run_launch(config, on, options or [])


@app.command(hidden=True)
@with_settings()
def check(config: "Config") -> None:
    """Say whether a run of `train` can begin."""
    from gradwire.local.checking import check_run

    check_run(config)


@app.command()
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
    from gradwire_common.identity.access import Access

    seconds = named("timeout", parse_seconds, timeout)
    access = Access(certs, token_file)
    show_status(address, worker_id=worker_id, timeout=seconds, access=access, as_json=_is_json(form))


@app.command()
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


@app.command()
def limit(
    address: ServerAddress,
    worker_id: Annotated[str | None, typer.Option("--worker", metavar="ID", help="this worker alone")] = None,
    rate_up: Annotated[str | None, typer.Option(metavar="RATE", help="most a worker may send, or none")] = None,
    rate_down: Annotated[str | None, typer.Option(metavar="RATE", help="most a worker is sent, or none")] = None,
    burst: Annotated[str | None, typer.Option(metavar="SIZE", help="bytes that may pass at once")] = None,
    shared_up: Annotated[str | None, typer.Option(metavar="RATE", help="most all may send together, or none")] = None,
    shared_down: Annotated[str | None, typer.Option(metavar="RATE", help="most all are sent together, or none")] = None,
    burst_shared: Annotated[str | None, typer.Option(metavar="SIZE", help="bytes of all that may pass at once")] = None,
    window: Annotated[str | None, typer.Option(metavar="SIZE", help="bytes under way in a round trip, or none")] = None,
    certs: Certs = None,
    token_file: TokenFile = None,
    timeout: Timeout = "5",
) -> None:
    """Change the rate limits of a run that continues; an admin's right where there are certificates."""
    from gradwire.commands.limit import change_limits
    from gradwire_common.identity.access import Access

    given = {
        "rate_up": rate_up,
        "rate_down": rate_down,
        "burst": burst,
        "shared_up": shared_up,
        "shared_down": shared_down,
        "burst_shared": burst_shared,
        "window": window,
    }
    change_limits(address, worker_id, given, named("timeout", parse_seconds, timeout), Access(certs, token_file))


administration.add_to(app)


@app.command()
@with_settings("coding", only=("quantizer", "bits", "allocation"))
def inspect(
    config: "Config",
    file: Annotated[Path, typer.Argument(metavar="FILE.safetensors", help="file of tensors")],
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="where the picture goes; beside the file when not given")
    ] = None,
) -> None:
    """Fit every tensor of a file: shape, scale, bits and distortion, predicted and achieved."""
    from gradwire.commands.inspect import inspect_file

    if config.uplink.auto:
        raise UsageError("bits: got 'auto', want a number: a file has no link")
    inspect_file(file, config.uplink, plot or file.with_suffix(".png"))


@app.command()
def version() -> None:
    """Show the version."""
    print(f"gradwire {__version__}")


def _is_json(form: str) -> bool:
    if form not in ("table", "json"):
        raise UsageError(f"format: got {form!r}, want table or json")
    return form == "json"


def main() -> NoReturn:
    """Run the command line and exit: 0 done, 1 failed, 2 misused, 130 interrupted; an error is one line."""
    from gradwire.local.lifeline import die_with_parent

    end_at_once()
    die_with_parent()
    streams.take_any_character()
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of its fonts, and of caches that it cannot write
    with suppress(OSError):  # what needs one says so
        settle_temporary_folder()
    code, message = _outcome()
    end_at_once()
    if message:
        streams.print_error(f"error: {printable(' '.join(message.split()))}")
    streams.give_up()
    if code == INTERRUPTED:  # a thread may still compile, which nobody waits for
        os._exit(code)
    sys.exit(code)


def _outcome() -> tuple[int, str]:
    """Run a command; return the exit code, and what is to be said of it."""
    try:
        code = app(standalone_mode=False)
        streams.flush()
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except GradwireError as error:
        if _debugging():
            raise
        return MISUSED if isinstance(error, UsageError) else FAILED, str(error)
    except OSError as error:
        if _debugging() or not streams.cannot_be_written(error):
            raise
        return FAILED, f"cannot write{f' {error.filename}' if error.filename else ''}: {error.strerror}"
    except Exception as error:
        if not hasattr(error, "format_message"):  # typer's own errors have one, whatever its version calls them
            raise
        return MISUSED, error.format_message()
    if code == INTERRUPTED:  # what typer returns after Ctrl-C
        return INTERRUPTED, "interrupted"
    return (code if isinstance(code, int) else 0), ""


def _debugging() -> bool:
    return os.environ.get("GRADWIRE_LOG_LEVEL") == "debug" or logging.getLogger().level == logging.DEBUG
