"""What is kept of a run on the disk, and when: a journal always, a checkpoint every so many rounds.

push counted -> journal -> receipt; round closed -> journal -> version published; every so often a checkpoint beside it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from gradwire_common.errors import UnavailableError
from gradwire_common.private_files import make_folder
from gradwire_server.store import checkpoint as checkpoints
from gradwire_server.store import state_files
from gradwire_server.store.checkpoint import Checkpoint
from gradwire_server.store.journal import Reader, Record, Segment
from gradwire_server.store.journal_queue import JournalQueue
from gradwire_server.supervision import Supervisor

log = logging.getLogger("gradwire.server")

T = TypeVar("T")

RETRY_SECONDS = 1.0  # between attempts to write to a full disk
SEGMENT_BYTES = 64 << 20  # a longer segment asks for a checkpoint, if it is also SEGMENT_RATIO checkpoints long
SEGMENT_RATIO = 4


class Store:
    """One run's state in a folder: nothing that a worker was told of is ever lost.

    Args:
        folder: of the state alone.
        every: rounds between checkpoints, at the most.
        kept: checkpoints that are kept.
        tasks: hears of it where writing fails in a way that no disk does.
    """

    def __init__(self, folder: Path, every: int, kept: int, tasks: Supervisor | None = None):
        self.folder = folder
        self._every = every
        self._kept = kept
        self._tasks = tasks or Supervisor()
        self._segment: Segment | None = None
        self._began = 0  # version that the segment follows
        self._checkpoint_bytes = 0
        self._saved = -1  # version of the newest checkpoint that this process has written
        self._queue = JournalQueue(folder, partial(self._on_disk, self._append), self._tasks)
        self._saving: asyncio.Task[None] | None = None
        self._giving_up = asyncio.Event()
        self._unused = asyncio.Event()  # set while no checkpoint's tensors are being read
        self._unused.set()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="gradwire-disk")

    async def begin(self, checkpoint: Checkpoint) -> None:
        """Keep a run that begins, in a folder where no other run has left its state.

        Raises:
            UnavailableError: it cannot be written.
        """

        def write() -> None:
            make_folder(self.folder)
            self._start_segment(checkpoint.version)
            self._checkpoint_bytes = checkpoints.save_checkpoint(self.folder, checkpoint)

        try:
            await self._on_disk(write)
        except OSError as error:
            log.error("cannot keep the run in %s: %s", self.folder, error)
            raise UnavailableError(f"the server cannot keep the run: {error.strerror or error}") from error

    async def push(self, record: Record) -> None:
        """Bring a push to the disk.

        Raises:
            UnavailableError: it cannot be written now; the worker is to try again.
        """
        await self._queue.put(record)

    async def commit(self, record: Record) -> None:
        """Bring the end of a round to the disk, however long that takes: no version is published before.

        Raises:
            UnavailableError: it could not be written, and `give_up` was called.
        """
        while True:
            try:
                await self.push(record)
                return
            except UnavailableError as error:
                if self._giving_up.is_set():
                    raise
                log.warning("round %s waits for the disk: %s", record.meta.get("round"), error)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._giving_up.wait(), RETRY_SECONDS)

    def give_up(self) -> None:
        """Wait no longer for a disk that cannot be written."""
        self._giving_up.set()

    def wants_checkpoint(self, version: int, *, asked: bool = False) -> bool:
        """Say whether one is due at `version`, or was asked for and none is being written."""
        if self._saving is not None and not self._saving.done():
            return False
        length = self._segment.length if self._segment is not None else 0
        long = length > max(SEGMENT_BYTES, SEGMENT_RATIO * self._checkpoint_bytes)
        return version - self._began >= self._every or long or asked

    async def checkpoint(self, checkpoint: Checkpoint, waiting: Sequence[Record] = ()) -> None:
        """Begin a new segment after `checkpoint`, and write that beside the training; a failure is a warning.

        Its tensors must stay as they are until `unused` returns. `waiting` are the pushes that count and are no part of
        it: the new segment begins with them.
        """

        def begin() -> None:
            self._start_segment(checkpoint.version)
            if waiting:
                self._append(waiting)

        try:
            await self._on_disk(begin)
        except OSError as error:
            log.warning("no checkpoint of version %d: %s", checkpoint.version, error)
            return
        self._unused.clear()
        self._saving = self._tasks.start("writing a checkpoint", self._save(checkpoint))

    async def saved(self, version: int) -> None:
        """Wait until the checkpoint of `version`, the last that was begun, is on the disk.

        Raises:
            UnavailableError: it could not be written.
        """
        if self._saving is not None:
            await asyncio.shield(self._saving)
        if self._saved < version:
            raise UnavailableError(f"checkpoint: that of version {version} could not be written; the log says why")

    async def unused(self) -> None:
        """Wait until the tensors of the last checkpoint are being read no more."""
        await self._unused.wait()

    async def close(self, last: Checkpoint | None = None, waiting: Sequence[Record] = ()) -> None:
        """Finish what is being written, with a `last` checkpoint if one is given, and close the journal.

        `waiting` as for `checkpoint`.
        """
        await self._queue.empty()
        await self._saving_over()
        if last is not None and self._segment is not None and last.version != self._began:
            await self.checkpoint(last, waiting)
            await self._saving_over()
        if self._segment is not None:
            self._segment.close()
        self._pool.shutdown()

    def recover(self, check: Callable[[Checkpoint], None] = lambda _: None) -> Checkpoint | None:
        """Return the newest checkpoint that verifies and passes `check`, None where there is none.

        Raises:
            CheckpointError: all of them are damaged.
        """
        if not self.folder.is_dir():
            return None
        state_files.remove_partial(self.folder)
        return checkpoints.newest_checkpoint(self.folder, check)

    def records_after(self, version: int, reached: Callable[[], int]) -> Iterator[Record]:
        """Yield the records that follow the checkpoint of `version`, and be ready to write further ones.

        Args:
            version: of the checkpoint.
            reached: tells the version that the records so far make.

        Raises:
            CheckpointError: a file is no journal.
        """
        followed = [number for number in state_files.segment_versions(self.folder) if number >= version]
        path, length = self._segment_path(version), 0
        for number in followed:
            if number != reached():
                log.warning(
                    "%s: got the rounds up to %d, want %d; it is skipped", self._segment_path(number), reached(), number
                )
                self._segment_path(number).rename(f"{self._segment_path(number)}{state_files.SKIPPED}")
                continue
            reader = Reader(self._segment_path(number), number)
            yield from reader
            if reader.length:
                path, length, self._began = reader.path, reader.length, number
            else:
                reader.path.unlink()  # it was being begun: what followed went on in the one before
        if length:
            self._segment = Segment.reopen(path, length)
        else:
            self._start_segment(version)

    async def _save(self, checkpoint: Checkpoint) -> None:
        loop = asyncio.get_running_loop()

        def written() -> None:
            loop.call_soon_threadsafe(self._unused.set)

        try:
            self._checkpoint_bytes = await asyncio.to_thread(
                checkpoints.save_checkpoint, self.folder, checkpoint, written
            )
        except OSError as error:
            log.warning("no checkpoint of version %d: %s; the journal continues", checkpoint.version, error)
            return
        finally:
            self._unused.set()
        self._saved = checkpoint.version
        await asyncio.to_thread(state_files.prune, self.folder, self._kept)

    def _append(self, records: Sequence[Record]) -> None:
        if self._segment is None:
            raise OSError("no journal has begun")
        self._segment.append(records)

    def _start_segment(self, version: int) -> None:
        segment = Segment(self._segment_path(version), version)
        if self._segment is not None:
            self._segment.close()
        self._segment, self._began = segment, version

    def _segment_path(self, version: int) -> Path:
        return state_files.segment_path(self.folder, version)

    async def _saving_over(self) -> None:
        """Wait until no checkpoint is being written; what writing failed with is its supervisor's."""
        if self._saving is not None:
            await asyncio.wait([self._saving])

    async def _on_disk(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)
