"""A parameter server and its workers as processes of this machine."""

import os
import re
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gradwire.links.forwarder import Forwarder
from gradwire.links.profile import Link
from gradwire.local.child import Child
from gradwire.local.lifeline import LOCK, PARENT
from gradwire.surroundings import MARKS
from gradwire_common.errors import ClusterError
from gradwire_common.settings.config import Config
from gradwire_common.settings.load import ENV_PREFIX
from gradwire_common.transport.address import MAX_PATH
from gradwire_server.store.run_folder import RunFolder

START_SECONDS = (
    300.0  # for a server to listen; a busy machine with cold caches takes minutes to load torch and the kernels
)
STOP_SECONDS = 10.0  # for a process to end after SIGTERM, before SIGKILL
POLL_SECONDS = 0.05

SOCKET = "server"  # where the server listens, in a folder that is this user's alone
_LISTENING = re.compile(r"^listening on (.+)$", re.MULTILINE)


class Cluster:
    """One server and `config.workers` workers, from `start` until `stop`, which a context calls in the end.

    They speak through unix sockets in a folder that is this user's alone: nobody else of this machine can call them.

    With a `link`, each worker reaches the server through a forwarder that behaves like it.

    Attributes:
        address: where the server listens, once started.
    """

    def __init__(self, config: Config, folder: RunFolder, link: Link | None = None):
        self._link = link
        self._forwarders: list[Forwarder] = []
        self._config = config
        self._folder = folder
        self._environment = environment_of(config)
        self._private = private_folder()
        self.address = ""
        self.server: Child | None = None
        self.workers: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server, wait until it listens, start the workers.

        Raises:
            ClusterError: if the server fails, or does not listen in time.
        """
        self.server = self._child("server", {"listen": f"unix:{self._private.name}/{SOCKET}"})
        for slot in range(self._config.workers):  # they load while the server does, and wait for its address
            changes = {"server": "-", "worker_id": f"worker-{slot}", "slot": slot}
            self.workers.append(self._child(f"worker-{slot}", changes))
        self.address = self._wait_for_address(self.server)
        for worker in self.workers:
            worker.tell(self._way_to(self.address))

    def _way_to(self, address: str) -> str:
        """Return the address at which a worker finds the server: behind a link of its own, where there is one."""
        if self._link is None:
            return address
        path = Path(self._private.name) / f"link-{len(self._forwarders)}"
        self._forwarders.append(Forwarder(address, self._link, path))
        return self._forwarders[-1].address

    def check(self) -> None:
        """Raise ClusterError if a process has failed."""
        for child in self.workers:
            child.check()
        if self.server:
            self.server.check()

    @property
    def running(self) -> bool:
        """Whether the server has not ended yet."""
        return self.server is not None and self.server.running

    @property
    def working(self) -> bool:
        """Whether any worker has not ended yet."""
        return any(child.running for child in self.workers)

    def join(self) -> None:
        """Wait for the workers, whose run has ended, to end too.

        Raises:
            ClusterError: if one of them fails, or is still there after STOP_SECONDS.
        """
        deadline = time.monotonic() + STOP_SECONDS
        self.check()
        while self.working:
            if time.monotonic() > deadline:
                late = next(child for child in self.workers if child.running)
                raise ClusterError(f"{late.name} did not end with its run (log: {late.log})")
            time.sleep(POLL_SECONDS)
        self.check()

    def interrupt(self) -> None:
        """Let the server end the run in order: it drains, writes its results and sends the workers home."""
        if self.server and self.server.running:
            self.server.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.server.process.wait(STOP_SECONDS)

    def stop(self) -> None:
        """End every process, the workers first."""
        children = [*self.workers, self.server] if self.server else self.workers
        for child in children:
            if child.running:
                child.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for child in children:
            child.stop(deadline)
        for forwarder in self._forwarders:
            forwarder.close()
        self._forwarders.clear()
        self._private.cleanup()

    def _child(self, name: str, changes: dict[str, Any]) -> Child:
        """Start a process with the run's settings in a file of its own."""
        command = name.partition("-")[0]
        file = Path(self._private.name) / f"{name}.toml"
        file.write_text(self._config.replaced(**changes, certs=None, tokens=None, token_file=None).to_toml(), "utf-8")
        log, environment, inherited = self._folder.path / f"{name}.log", self._environment, []
        if command == "server":  # which writes to the folder too
            environment, inherited = {**environment, LOCK: str(self._folder.lock)}, [self._folder.lock]
        return Child(name, [command, "--config", str(file)], log, environment, inherited)

    def _wait_for_address(self, server: Child) -> str:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.check()
            if found := _LISTENING.search(server.said()):
                return found[1]
            if not server.running:
                raise ClusterError(f"server ended before it listened (log: {server.log})")
            time.sleep(POLL_SECONDS)
        raise ClusterError(f"server did not listen within {START_SECONDS:.0f} s (log: {server.log})")


def private_folder() -> "tempfile.TemporaryDirectory[str]":
    """Return a temporary folder that is this user's alone (0700), for settings and sockets, whose paths are short."""
    short = len(os.fsencode(tempfile.gettempdir())) < MAX_PATH - len("/gradwire-12345678/server")
    return tempfile.TemporaryDirectory(prefix="gradwire-", dir=None if short else "/tmp")  # noqa: S108


def environment_of(config: Config) -> dict[str, str]:
    """Return the environment of the children: no settings or places but those of their files; cores shared out."""
    settings = {ENV_PREFIX + name.upper() for name in Config.model_fields} | set(MARKS)
    kept = {name: value for name, value in os.environ.items() if name not in settings}
    if "PYTHONPATH" in kept:  # an empty part, as in $PYTHONPATH:/more where there was none, means the working folder
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, kept["PYTHONPATH"].split(os.pathsep)))
    threads = str(config.threads or max(1, len(os.sched_getaffinity(0)) // config.workers))
    shared = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads}
    return kept | shared | {PARENT: str(os.getpid()), "PYTHONUNBUFFERED": "1"}
