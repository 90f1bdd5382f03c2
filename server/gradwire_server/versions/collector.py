"""From pushes to versions: whole pushes are added in order, rounds are closed, versions made of them.

The state is changed on the event loop; the arithmetic goes to threads, one piece at a time where it changes numbers.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

from gradwire_common.errors import GradwireError, UsageError
from gradwire_common.layout.manifest import Manifest
from gradwire_common.settings.config import ServedRun
from gradwire_common.step_options import Groups, OptimizerChoice
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.aggregation.push import Push
from gradwire_server.intake.contribution import text_of
from gradwire_server.rounds.schedule import Phase, Schedule, Verdict
from gradwire_server.store.checkpoint import Checkpoint
from gradwire_server.store.state import Store
from gradwire_server.versions.builder import VersionBuilder
from gradwire_server.versions.checkpoint_requests import CheckpointRequests
from gradwire_server.versions.description import rate_of
from gradwire_server.versions.events import Committed, Ended, Event, Opened
from gradwire_server.versions.numbers import Numbers
from gradwire_server.versions.push_pool import PushPool
from gradwire_server.versions.replay import Replayed, replay

log = logging.getLogger("gradwire.server")


class Collector:
    """Collects the pushes of the open round and turns them into the next version.

    Args:
        settings: settings of the run.
        schedule: which pushes count, when they are added, when the round closes.
        numbers: what pushes are added to.
        store: keeps pushes and versions on the disk; None where nothing is kept.
        budget: tells the bytes of frames that the next update may take (bits_down auto); 0 for no limit.
        describe: tells what of the run belongs in a checkpoint beside the numbers.
        clock: seconds.
        present: as VersionBuilder has it.

    Attributes:
        pool: the pushes of rounds that have not closed.
        paused: why no round closes for now; empty where nothing keeps it from closing.
        checkpoint_requests: who wants a checkpoint at the next round's end.
        between_rounds: whether the weights are those of the schedule's version, rather than of one that was not made.
    """

    def __init__(
        self,
        settings: ServedRun,
        schedule: Schedule,
        numbers: Numbers,
        store: Store | None = None,
        budget: Callable[[], int] = lambda: 0,
        describe: Callable[[], dict[str, Any]] = dict,
        clock: Callable[[], float] = time.monotonic,
        present: Callable[[], Mapping[str, int] | None] = lambda: None,
    ):
        self._schedule = schedule
        self._numbers = numbers
        self._store = store
        self._budget = budget
        self._describe = describe
        self.pool = PushPool(settings, schedule, store, clock)
        self._builder = VersionBuilder(numbers.in_thread, store, clock, present)
        self.paused = ""
        self.checkpoint_requests = CheckpointRequests()
        self.between_rounds = True
        self._opened_round = 0  # the round that `Opened` was yielded for
        self._timed_round = 0  # the round whose deadline runs

    async def define(self, manifest: Manifest, choice: OptimizerChoice | None = None) -> None:
        """Allocate a model and its optimizer, the first worker's `choice` if there is one, in place of an earlier one.

        Raises:
            ConfigError: the optimizer does not take its parameter groups, or pushes take more memory than is allowed.
            ModelMismatchError: there is not enough memory for it.
        """
        training = await self._numbers.prepare(manifest, choice)
        self.pool.define(manifest.layout, streams=training.rule.streams)
        self._numbers.define(training)

    async def load_weights(self, data: memoryview) -> Verdict:
        """Load initial weights, if there are none yet. Raises DataError if they are damaged."""
        return await self._begin(self._numbers.training.load, data)

    async def load_file(self, path: Path) -> Verdict:
        """Load initial weights of a file, if there are none yet.

        Raises:
            ConfigError: it cannot be read.
            ModelMismatchError: it is of another model.
            NonFiniteError, RangeError: a parameter cannot be trained; names the tensor.
        """
        return await self._begin(self._numbers.training.load_file, path)

    async def _begin(self, load: Callable[[Any], None], source: Any) -> Verdict:
        async with self._numbers.changing:
            if self._schedule.version is not None:
                return Verdict.DUPLICATE
            await self._numbers.in_thread(load, source)
            if self._store is not None:
                await self._store.begin(await self._state(0))
            self._schedule.begin()
        self._builder.begin()
        self.wake()
        return Verdict.COUNTED

    async def check(self, data: memoryview, with_buffers: bool) -> int:
        """Return the digest of a push's frames. Raises BitstreamError unless every one of them decodes."""
        return await self._numbers.in_thread(self._numbers.training.check, data, with_buffers)

    def check_options(self, groups: Groups) -> None:
        """Raise UsageError unless options that came with a push are such as the optimizer takes."""
        self._numbers.training.check_options(groups)

    def wake(self) -> None:
        """Look again at what the open round waits for."""
        self.pool.changed.set()

    def pause(self, reason: str) -> None:
        """Let no round close until `proceed`; pushes still count."""
        self.paused = reason

    def proceed(self) -> None:
        """Let rounds close again. The deadline of the open one begins again."""
        self.paused = ""
        self.pool.open_round()
        self.wake()

    async def events(self) -> AsyncGenerator[Event, None]:
        """Add pushes and close rounds, indefinitely; yield what happens.

        A round is over, for everything that asks the schedule, when its `Committed` is yielded, and nothing else has
        happened by then. Arithmetic that cannot proceed makes an `Ended`; whatever else fails is raised.
        """
        while True:
            await self._until_woken()
            try:
                async with aclosing(self._advance()) as events:
                    async for event in events:
                        yield event
            except GradwireError as error:
                yield Ended(str(error), error)

    async def resume(self, checkpoint: Checkpoint) -> Replayed:
        """Resume from a checkpoint: make the versions that the journal tells of after it, with the same bits."""
        training, store, in_thread = self._numbers.training, self._store, self._numbers.in_thread
        if store is None:
            raise UsageError("got a checkpoint to resume from, but nothing is kept of this run")
        training.load_state(checkpoint.tensors, checkpoint.meta["training"])
        replayed = await replay(training, checkpoint, store.records_after, in_thread, queues=self._schedule.queues)
        self._builder.begin()
        self._builder.options.pending = training.changed_rate(rate_of(checkpoint.meta))
        return replayed

    async def finish(self) -> None:
        """Let the threads go, once nothing more is asked of them; leave a checkpoint of the last version."""
        await self._numbers.at_rest()
        if self._store is not None:
            known = self._schedule.version is not None and self.between_rounds
            last = await self._state(self._schedule.version or 0) if known else None
            await self._store.close(last, self.pool.waiting())
        self._numbers.close()

    async def _state(self, version: int, closing: pb.RoundRecord | None = None) -> Checkpoint:
        """Return all that the run depends on; between rounds, or once all of the `closing` one is done.

        It is no copy, and good until the next round's commit.
        """
        tensors, meta = await self._numbers.in_thread(self._numbers.training.state)
        described = self._describe()
        if closing is not None:
            described["records"].append(text_of(closing))
        return Checkpoint(version, tensors, {**described, "training": meta})

    async def _until_woken(self) -> None:
        """Wait until something happened that may let the round proceed, the passing of its deadline included."""
        try:
            await asyncio.wait_for(self.pool.changed.wait(), None if self.paused else self.pool.left())
        except TimeoutError:
            seconds = self.pool.deadlines.seconds
            log.info("round %d: the deadline of %.1f s has passed", self._schedule.open_round, seconds)
            self._schedule.pass_deadline()
        self.pool.changed.clear()

    async def _advance(self) -> AsyncGenerator[Event, None]:
        """Do what can be done now: add the pushes whose turn it is, close the round if it has all."""
        schedule, numbers, pool = self._schedule, self._numbers, self.pool
        if self._opened_round != schedule.open_round and schedule.phase is not Phase.ENDED:
            self._opened_round = schedule.open_round
            yield Opened(schedule.open_round)
        if schedule.phase is Phase.COLLECTING and self._timed_round != schedule.open_round:
            self._timed_round = schedule.open_round
            pool.open_round()
        pool.memory.look()
        while slots := schedule.pop_ready():
            async with numbers.changing:
                await numbers.in_thread(self._add, pool.pushes(slots))
            pool.added(slots)
        pool.check_not_stuck()
        if schedule.may_close and not self.paused:
            async with numbers.changing:
                # while the numbers were in use, the run may have ended, or a push have come, which is added first
                if schedule.may_close and not schedule.has_ready and not self.paused:
                    async with aclosing(self._close()) as events:
                        async for event in events:
                            yield event

    def _add(self, pushes: list[tuple[int, Push]]) -> None:
        for slot, push in pushes:
            self._numbers.training.add(push, slot)

    async def _close(self) -> AsyncGenerator[Event, None]:
        """Make the next version of the open round, and let the round be over."""
        training, closing = self._numbers.training, self._schedule.close()
        self.between_rounds = False
        pushes, budget = self.pool.pop(closing.slots), self._budget()
        async with aclosing(self._builder.build(training, closing.round, pushes, budget)) as events:
            async for event in events:
                if isinstance(event, Committed):
                    await self._commit(event)
                yield event
        if self._schedule.phase is Phase.ENDED:
            yield Ended(f"all {closing.round} rounds are done")
        self.wake()

    async def _commit(self, committed: Committed) -> None:
        """Write a checkpoint where one is due, and let the round be over."""
        self.pool.release(committed.slots)
        self.pool.deadlines.sent(committed.update.length)
        version = committed.update.version
        if self._store is not None and self._store.wants_checkpoint(version, asked=self.checkpoint_requests.any):
            async with self.pool.arriving:
                await self._store.checkpoint(await self._state(version, committed.record), self.pool.waiting())
            self.checkpoint_requests.answer(version)
        self._schedule.commit()
        self.between_rounds = True
