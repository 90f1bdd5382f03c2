"""The journal's queue: records that come while others are being written are brought to the disk together."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from gradwire_common.errors import UnavailableError
from gradwire_server.store.journal import Record
from gradwire_server.supervision import Supervisor

log = logging.getLogger("gradwire.server")


class JournalQueue:
    """Records that wait for the disk.

    Args:
        folder: of the journal, for messages.
        append: writes records, and raises OSError where the disk does not take them.
        tasks: hears of it where writing fails in a way that no disk does.
    """

    def __init__(self, folder: Path, append: Callable[[Sequence[Record]], Awaitable[None]], tasks: Supervisor):
        self._folder = folder
        self._append = append
        self._tasks = tasks
        self._waiting: list[tuple[Record, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def put(self, record: Record) -> None:
        """Bring a record to the disk. Raises UnavailableError if it cannot be written now."""
        written = asyncio.get_running_loop().create_future()
        self._waiting.append((record, written))
        if self._writing is None or self._writing.done():
            self._writing = self._tasks.start("writing the journal", self._write())
        await written

    async def empty(self) -> None:
        """Wait until nothing is being written; what writing failed with is its supervisor's."""
        if self._writing is not None:
            await asyncio.wait([self._writing])

    async def _write(self) -> None:
        """Write what waits, all of it at once, until nothing does."""
        while self._waiting:
            batch, self._waiting = self._waiting, []
            failure: UnavailableError | None = None
            try:
                await self._append([record for record, _ in batch])
            except OSError as error:
                log.warning("cannot write the journal in %s: %s", self._folder, error)
                failure = UnavailableError(f"the server cannot write its journal: {error.strerror or error}")
            except Exception as error:
                failure = UnavailableError(f"the server's journal failed: {type(error).__name__}")
                _answer([*batch, *self._waiting], failure)
                self._waiting.clear()
                raise
            _answer(batch, failure)


def _answer(batch: Sequence[tuple[Record, asyncio.Future[None]]], failure: UnavailableError | None) -> None:
    """Tell those who wait for records that they are on the disk, or why they are not."""
    for _, written in batch:
        if written.done():
            continue
        if failure is None:
            written.set_result(None)
        else:
            written.set_exception(failure)
