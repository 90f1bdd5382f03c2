"""An admin's commands: limit, pause, unpause, checkpoint, remove, admit."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gradwire_common.identity.access import Access
from gradwire_common.units import named, parse_seconds

ServerAddress = Annotated[
    str, typer.Argument(metavar="HOST[:PORT]", help="address of a parameter server; port 50051 when not given")
]
Certs = Annotated[
    Path | None,
    typer.Option(metavar="DIR", envvar="GRADWIRE_CERTS", help="kit of certificates of who asks, for a server with TLS"),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", envvar="GRADWIRE_TOKEN_FILE", help="token of who asks, for a server behind a proxy"),
]
Timeout = Annotated[str, typer.Option(metavar="SECONDS", help="how long to wait for an answer")]
WorkerId = Annotated[str, typer.Argument(metavar="WORKER", help="id of a worker")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="why, for the log and for those whom it concerns")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (limit, pause, unpause, checkpoint, remove, admit):
        app.command()(command)


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


def pause(
    address: ServerAddress,
    reason: Reason = "",
    certs: Certs = None,
    token_file: TokenFile = None,
    timeout: Timeout = "5",
) -> None:
    """Let no round close until `gradwire unpause`; pushes still count, and workers wait."""
    reply = _asked("Pause", address, Access(certs, token_file), timeout, paused=True, reason=reason)
    print(f"paused at version {reply.version}")


def unpause(address: ServerAddress, certs: Certs = None, token_file: TokenFile = None, timeout: Timeout = "5") -> None:
    """Let a run that was paused continue."""
    reply = _asked("Pause", address, Access(certs, token_file), timeout, paused=False)
    print(f"continues after version {reply.version}")


def checkpoint(
    address: ServerAddress, certs: Certs = None, token_file: TokenFile = None, timeout: Timeout = "600"
) -> None:
    """Write a checkpoint at the end of the round, and wait until it is on the server's disk."""
    version = _asked("Checkpoint", address, Access(certs, token_file), timeout).version
    print(f"the checkpoint of version {version} is on the server's disk")


def remove(
    address: ServerAddress,
    worker_id: WorkerId,
    reason: Reason = "",
    certs: Certs = None,
    token_file: TokenFile = None,
    timeout: Timeout = "5",
) -> None:
    """Remove a worker from the run; it may not join again until `gradwire admit`."""
    _asked("Remove", address, Access(certs, token_file), timeout, worker_id=worker_id, reason=reason)
    print(f"worker {worker_id} is removed, and may not join again until it is admitted")


def admit(
    address: ServerAddress,
    worker_id: WorkerId,
    certs: Certs = None,
    token_file: TokenFile = None,
    timeout: Timeout = "5",
) -> None:
    """Let a worker that was removed join again, or one that is quarantined push again."""
    _asked("Admit", address, Access(certs, token_file), timeout, worker_id=worker_id)
    print(f"worker {worker_id} may take part again")


def _asked(call: str, address: str, access: Access, timeout: str, **fields: Any) -> Any:
    """Return the server's answer to a call of the contract, whose request has these fields."""
    from gradwire.local.asking import ask
    from gradwire_common.v1 import parameter_server_pb2 as pb

    seconds, request = named("timeout", parse_seconds, timeout), getattr(pb, f"{call}Request")(**fields)
    return ask(address, lambda stub: getattr(stub, call)(request, timeout=seconds), access)
