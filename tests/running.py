"""Run a real parameter server inside of a test, and speak to it as plainly as the protocol allows."""

import asyncio
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from gradwire_common.settings.config import Config
from gradwire_server.app import serve_run

START_SECONDS = 240.0  # kernels may have to be compiled first
END_SECONDS = 60.0
HALT_SECONDS = 60.0
T = TypeVar("T")


def eventually(read: Callable[[], T], seconds: float = 60.0) -> T:
    """Return what `read` gives once it is true; fail where it is not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not (got := read()):
        assert time.monotonic() < deadline, f"still {got!r} after {seconds:g} s"
        threading.Event().wait(0.02)
    return got


def copy_as_killed(runs: Path, copy: Path) -> Path:
    """Copy a folder as a kill would leave it, though its server is at work: again where a file went meanwhile."""

    def copied() -> Path | None:
        shutil.rmtree(copy, ignore_errors=True)
        try:
            return Path(shutil.copytree(runs, copy))
        except shutil.Error:
            return None

    return eventually(copied)


class Halt:
    """A place in the server's work at which the thread that comes there waits until it may go on."""

    def __init__(self) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()

    def halt(self) -> None:
        """Say that the place is reached, and wait; called by the one that works."""
        self.reached.set()
        assert self.go_on.wait(HALT_SECONDS)


@dataclass
class RunningServer:
    """A server in a thread of its own.

    Attributes:
        address: HOST:PORT that it answers on.
        error: what it ended with, if it failed.
    """

    config: Config
    address: str = ""
    error: BaseException | None = None
    stop: Callable[[], None] = field(default=lambda: None)
    _thread: threading.Thread | None = None

    def join(self) -> None:
        """Wait until the server has ended by itself; raise what it failed with."""
        assert self._thread is not None
        self._thread.join(END_SECONDS)
        assert not self._thread.is_alive(), "the server did not end"
        if self.error is not None:
            raise self.error


@contextmanager
def running_server(config: Config, *, grace: float = 20.0, drain: float = 0.1) -> Iterator[RunningServer]:
    """Serve `config` while the body runs, on the address of its `listen`: port 0 takes a free one.

    Once the body is left, the server is stopped as SIGTERM would; workers have `drain` seconds to leave then.
    """
    server = RunningServer(config)
    ready = threading.Event()

    def on_ready(port: int) -> None:
        server.address = str(replace(config.listen, port=port))
        ready.set()

    async def main() -> None:
        stopped, loop = asyncio.Event(), asyncio.get_running_loop()
        server.stop = lambda: loop.is_closed() or bool(loop.call_soon_threadsafe(stopped.set))
        await serve_run(config, ready=on_ready, stopped=stopped, grace=grace, drain=drain)

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            server.error = error
        finally:
            ready.set()

    server._thread = threading.Thread(target=run, name="server", daemon=True)
    server._thread.start()
    try:
        assert ready.wait(START_SECONDS), "the server did not start"
        if server.error is not None:
            raise server.error
        yield server
    finally:
        server.stop()
        server._thread.join(END_SECONDS)
    assert not server._thread.is_alive(), "the server did not stop"
