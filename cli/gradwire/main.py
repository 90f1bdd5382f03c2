"""The command line: parses, loads settings, calls one function, and turns errors into one line."""

import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from gradwire.commands import administration, certs, observation, study
from gradwire.ending import end_at_once, end_in_order
from gradwire.help import PlainApp
from gradwire.options import with_settings
from gradwire.outcome import run
from gradwire_common import __version__, logs
from gradwire_common.errors import UsageError

if TYPE_CHECKING:
    from gradwire_common.settings.config import Config

PROVES = ("certs", "tokens", "token_file", "insecure")  # settings of who may call; a local run's sockets are private
OWN = ("server", "worker_id", "token_file", "slot", "device", "threads", "pace", "state", "patience", "data")
LOADING = "loading torch and the codec's kernels; the first time they are compiled, which takes half a minute or more"

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
    """Serve and work by what torchrun, srun or SkyPilot started; or start it, on Slurm or Ray."""
    from gradwire.commands.launch import run_launch

    run_launch(config, on, options or [])


@app.command(hidden=True)
@with_settings()
def check(config: "Config") -> None:
    """Say whether a run of `train` can begin."""
    from gradwire.local.checking import check_run

    check_run(config)


observation.add_to(app)
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


def main() -> NoReturn:
    """Run the command line and exit; as `gradwire.outcome.run`."""
    run(app)
