"""`gradwire launch`: what a launcher started serves and works; or nodes are started by submitit or Ray.

Every node runs the same command. The first process of the first node starts the server beside itself.
"""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from gradwire.commands.launchers import LAUNCHERS
from gradwire.ending import end_at_once, end_in_order
from gradwire.local.cluster import environment_of, private_folder
from gradwire.surroundings import Surroundings, read_surroundings, server_settings, worker_settings
from gradwire_common import logs
from gradwire_common.errors import ClusterError, ConfigError, UsageError
from gradwire_common.settings.config import Config
from gradwire_common.transport.address import Address

EVERYWHERE = "0.0.0.0"  # noqa: S104 - refused without certificates or --insecure
SERVER_KIT = "server"
END_SECONDS = 150.0  # for the server to end once its last worker has left: more than its own grace
STOP_SECONDS = 20.0


def run_launch(config: Config, on: str | None, options: Sequence[str]) -> None:
    """Take this process' part in a run, or start the processes of all nodes `on` local, slurm or ray.

    Raises:
        UsageError: no launcher started this process; or there is none called so.
        ClusterError: a process failed.
    """
    logs.configure(config.log_level, "launch")
    if on is None:
        if options:
            raise UsageError("option: got one without --on, want --on local, slurm or ray")
        take_part(config, read_surroundings())
        return
    if on not in LAUNCHERS:
        raise UsageError(f"on: got {on!r}, want one of {', '.join(LAUNCHERS)}")
    end_in_order()
    LAUNCHERS[on](config, _parsed(options))


def take_part(config: Config, around: Surroundings) -> None:
    """Work for the run; in its first process, serve it too.

    Raises:
        UsageError: no launcher started this process.
        ClusterError: the server failed.
    """
    if not around.launchers:
        raise UsageError(
            "launch: no launcher has started this process (torchrun, srun, SkyPilot): want --on local, "
            "slurm or ray, or gradwire train for processes of this machine"
        )
    nodes = around.nodes or 1
    config = server_settings(config, replace(around, nodes=nodes))
    head = around.head or config.listen.host
    if nodes > 1 and not Address(head, 0).loopback and "listen" not in config.model_fields_set:
        config = config.replaced(listen=EVERYWHERE)
    if nodes > 1 and not around.head:
        raise UsageError(
            f"launch: {around.launchers[0]} does not say which host is the first node's; want GRADWIRE_HEAD"
        )
    kits = config.certs
    address = str(config.listen if config.listen.path else Address(head, config.listen.port))
    worker = worker_settings(config.replaced(certs=kits / f"worker-{around.node or 0}" if kits else None), around)
    if around.process:  # it never speaks to the server
        _work(worker, around)
        return
    if not around.first:
        _work(worker.replaced(server=address), around)
        return
    with _server(config.replaced(certs=kits / SERVER_KIT if kits else None)) as listening:
        port = int(listening.rpartition(":")[2]) if not config.listen.path else 0
        _work(worker.replaced(server=address if not port else str(Address(head, port))), around)


def _work(config: Config, around: Surroundings) -> None:
    from gradwire_worker.runner import run_worker

    logs.configure(config.log_level, config.worker_id or "worker")
    run_worker(config, joining=end_in_order, node=around.place)


@contextmanager
def _server(config: Config) -> Iterator[str]:
    """Serve in a process of its own while the body runs, and until the run has ended; yield where it listens.

    Raises:
        ClusterError: the server failed.
    """
    with private_folder() as folder:
        file = Path(folder) / "server.toml"
        file.write_text(config.to_toml(as_given=tuple(config.sections)), "utf-8")
        server = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-P", "-m", "gradwire", "server", "--config", str(file)],
            env=environment_of(config),
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C reaches this process, which ends the server in order
        )
        end_in_order()
        try:
            assert server.stdout is not None  # noqa: S101 - it was asked for
            first = server.stdout.readline().strip()
            print(first, flush=True)
            if not first:
                raise ClusterError(f"the server ended with exit code {server.wait()} before it listened")
            threading.Thread(target=_repeat, args=(server.stdout, print), daemon=True).start()
            yield first.removeprefix("listening on ")
            if code := server.wait(END_SECONDS):
                raise ClusterError(f"the server ended with exit code {code}")
        finally:
            _stop(server)
            end_at_once()


def _repeat(lines: Iterator[str], show: Callable[[str], None]) -> None:
    for line in lines:
        show(line.rstrip())


def _stop(server: "subprocess.Popen[str]") -> None:
    """End the server in order, then by force; nothing happens where it has ended."""
    if server.poll() is None:
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(STOP_SECONDS)
        server.kill()
        server.wait()


def _parsed(options: Sequence[str]) -> dict[str, str]:
    for each in options:
        if "=" not in each:
            raise ConfigError(f"option: got {each!r}, want KEY=VALUE, such as partition=gpu")
    return dict(each.split("=", 1) for each in options)
