"""From the sum of a closed round to its version: journal, frames, and the round's record."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from gradwire_common.errors import UsageError
from gradwire_common.step_options import Groups
from gradwire_common.transport.wire import MAX_UINT64
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.intake.contribution import Contribution, commit_record
from gradwire_server.outcome.outcome import ClosedRound, Kind
from gradwire_server.store.state import Store
from gradwire_server.versions.broadcast import Update
from gradwire_server.versions.events import Committed, Dropped, Published, TakenBack
from gradwire_server.versions.round_options import RoundOptions
from gradwire_server.versions.training import Training

T = TypeVar("T")


class InThread(Protocol):
    """Runs arithmetic in a thread beside the event loop."""

    async def __call__(self, work: Callable[..., T], *arguments: Any) -> T:
        """Return work(*arguments)."""


class VersionBuilder:
    """Makes one version after the other.

    Attributes:
        options: decides what the optimizer's options are at each step.

    Args:
        in_thread: runs arithmetic.
        store: keeps the ends of rounds on the disk; None where nothing is kept.
        clock: seconds.
        present: tells the slots of the workers that the next round may be of, by id, where it is of some of them.
    """

    def __init__(
        self,
        in_thread: InThread,
        store: Store | None,
        clock: Callable[[], float],
        present: Callable[[], Mapping[str, int] | None] = lambda: None,
    ):
        self._present = present
        self._in_thread = in_thread
        self._store = store
        self._clock = clock
        self._last_made = clock()
        self.options = RoundOptions()

    def begin(self) -> None:
        """Note that there is a version from elsewhere, from which the next round's time counts."""
        self._last_made = self._clock()

    async def build(
        self, training: Training, round_: int, pushes: Sequence[tuple[int, Contribution]], budget: int
    ) -> AsyncGenerator[Published | TakenBack | Dropped | Committed, None]:
        """Make the version of a round whose pushes have all been added; yield what watchers and books are to know.

        The end of the round is on the disk before the version is published. `Committed` comes last, and becomes true
        when the caller lets the round be over.

        Args:
            training: the numbers.
            round_: the round that closed.
            pushes: slots and their pushes, in the order of their sum.
            budget: bytes of frames that the update may take; 0 for no limit.

        Raises:
            GradwireError: there can be no such version.
        """
        record = _record(round_, [contribution for _, contribution in pushes])
        if self._store is not None:
            await self._store.unused()
        options = self.options.decide(training, round_, pushes)
        training.set_options(options)
        record.learning_rate = training.outcome.learning_rate
        record.budget_down = budget
        record.server_times.decode = training.decode_seconds
        published: asyncio.Queue[Published | None] = asyncio.Queue()

        async def opened(update: Update) -> None:
            if self._store is not None:
                self._tell_times(draft, record)
                await self._store.commit(commit_record(record, pushes, options, self._present()))
            published.put_nowait(Published(update))

        draft = UpdateDraft(round_, self._in_thread, opened)
        making = asyncio.create_task(draft.fill(training, ClosedRound(round_, record.loss, budget, len(pushes))))
        making.add_done_callback(lambda _: published.put_nowait(None))
        try:
            while event := await published.get():
                yield event
            update, digest = making.result()
        except Exception:
            if draft.update is not None:
                yield TakenBack(draft.update)
            raise
        finally:
            making.cancel()
        if training.dropped:
            yield Dropped(round_, tuple(each.worker for _, each in pushes), training.dropped)
        self._tell_times(draft, record)
        record.payload_down = update.length
        self._last_made = self._clock()
        treated = {worker.worker: training.treated[slot] for slot, worker in pushes if slot in training.treated}
        yield Committed(update, digest, record, tuple(slot for slot, _ in pushes), treated)

    def _tell_times(self, draft: "UpdateDraft", record: pb.RoundRecord) -> None:
        record.server_times.step, record.server_times.encode = draft.step_seconds, draft.encode_seconds
        record.seconds = self._clock() - self._last_made


class UpdateDraft:
    """A version while it is being made, as an update whose frames are sent as soon as they are there.

    Attributes:
        update: None until it is opened.
        step_seconds: time of what was computed before that.
        encode_seconds: time of what was computed after.
    """

    def __init__(self, version: int, in_thread: InThread, opened: Callable[[Update], Awaitable[None]]):
        self.update: Update | None = None
        self.step_seconds = self.encode_seconds = 0.0
        self._version = version
        self._in_thread = in_thread
        self._opened = opened
        self._loop = asyncio.get_running_loop()
        self._changed_options: Callable[[], Groups] = tuple

    async def compute(self, work: Callable[..., T], *arguments: Any) -> T:
        """Return work(*arguments), computed in a thread."""

        def timed() -> tuple[T, float]:
            began = time.perf_counter()
            result = work(*arguments)
            return result, time.perf_counter() - began

        result, seconds = await self._in_thread(timed)
        if self.update is None:
            self.step_seconds += seconds
        else:
            self.encode_seconds += seconds
        return result

    async def open(self, kind: Kind, *, with_buffers: bool) -> None:
        """Let the version be kept, and heard of."""
        await self._open(kind, with_buffers=with_buffers)

    def append(self, frame: bytes) -> None:
        """Hand over the next frame. Raises UsageError where the version has not been opened."""
        if self.update is None:
            raise UsageError(f"version {self._version}: got a frame of it before it was opened")
        self._loop.call_soon_threadsafe(self.update.append, frame)

    async def fill(self, training: Training, closed: ClosedRound) -> tuple[Update, int]:
        """Make the version of a closed round; return its update, with all frames, and its digest."""
        self._changed_options = training.changed_options
        version = await training.version_of(closed, self)
        update = self.update or await self._open(version.kind, with_buffers=version.with_buffers)
        for frame in version.frames[len(update.frames) :]:
            update.append(frame)
        return update, version.digest

    async def _open(self, kind: Kind, *, with_buffers: bool) -> Update:
        update = Update(self._version, kind, with_buffers, self._changed_options())
        await self._opened(update)
        self.update = update
        return update


def _record(round_: int, contributions: list[Contribution]) -> pb.RoundRecord:
    """Return the record of a round as far as its pushes tell; the loss is a mean over samples, times over workers."""
    known = [(each.push.samples, each.loss) for each in contributions if math.isfinite(each.loss)]
    samples = sum(n for n, _ in known)
    times = {
        field.name: sum(getattr(each.times, field.name) for each in contributions) / len(contributions)
        for field in pb.StepTimes.DESCRIPTOR.fields
    }
    return pb.RoundRecord(
        round=round_,
        contributors=len(contributions),
        samples=_total(each.push.samples for each in contributions),
        loss=sum(n * loss for n, loss in known) / samples if known else math.nan,
        worker_times=pb.StepTimes(**times),
        budget=_total(each.budget for each in contributions),
        spent=_total(each.spent for each in contributions if each.budget),
        payload_up=_total(each.payload for each in contributions),
    )


def _total(numbers: Iterable[int]) -> int:
    """Return the sum, or the most that its field holds."""
    return min(sum(numbers), MAX_UINT64)
