"""Tasks and threads that a server runs beside its calls: the first that dies is heard of, and ends the run."""

import asyncio
import logging
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

from gradwire_common.errors import GradwireError

log = logging.getLogger("gradwire.server")

LOOK_SECONDS = 0.25  # between looks at whether threads are alive


class Supervisor:
    """Starts tasks and hears of the first that fails, or that returns where it never should; a context ends them.

    Attributes:
        failed: set once one has.
        failure: what with.
    """

    def __init__(self) -> None:
        self.failed = asyncio.Event()
        self.failure: GradwireError | None = None
        self._endless: list[asyncio.Task[None]] = []

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task that ends by itself; a caller that waits for it may leave what it raises to this supervisor."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._look)
        return task

    def keep(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Start a task that runs until this context is left; that it returns is a failure too."""

        async def endless() -> None:
            await work
            raise RuntimeError("it ended, which it never should")

        task = self.start(name, endless())
        task.add_done_callback(lambda _: work.close())  # where it was ended before it had begun
        self._endless.append(task)

    def keep_alive(self, thread: threading.Thread) -> None:
        """Hear of a thread that ends before this context is left."""

        async def look() -> None:
            while thread.is_alive():
                await asyncio.sleep(LOOK_SECONDS)

        self.keep(f"thread {thread.name}", look())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in self._endless:
            task.cancel()
        await asyncio.gather(*self._endless, return_exceptions=True)

    def _look(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        log.critical("%s failed", task.get_name(), exc_info=error)
        if self.failure is None:
            why = error.strerror if isinstance(error, OSError) else repr(error)  # peers are told no paths
            self.failure = GradwireError(f"the server cannot continue: {task.get_name()} failed: {why}")
            self.failed.set()
