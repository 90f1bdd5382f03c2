"""From the sum of a closed round to its version: step, journal, frames, and the round's record."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.intake.contribution import Contribution, commit_record
from gradwire_server.outcome.training import Training
from gradwire_server.store.keeper import Keeper
from gradwire_server.versions.broadcast import Update

InThread = Callable[..., Awaitable[Any]]


class Maker:
    """Makes one version after the other.

    Args:
        in_thread: runs arithmetic beside the event loop.
        published: called with every new version's update, of which nothing has been made yet, and with whether it is
            taken back: something of it could not be made.
        keeper: keeps the ends of rounds on the disk; None where nothing is kept.
        clock: seconds.
    """

    def __init__(
        self,
        in_thread: InThread,
        published: Callable[[Update, bool], None],
        keeper: Keeper | None,
        clock: Callable[[], float],
    ):
        self._in_thread = in_thread
        self._published = published
        self._keeper = keeper
        self._clock = clock
        self._last_made = clock()

    def begin(self) -> None:
        """Take note that there is a version from elsewhere, from which the next round's time counts."""
        self._last_made = self._clock()

    async def make(
        self, training: Training, round_: int, pushes: Sequence[tuple[int, Contribution]], budget: int
    ) -> tuple[Update, pb.RoundRecord]:
        """Make the version of a round whose pushes have all been added; return its update and record.

        The end of the round is on the disk before anybody hears of the version.

        Args:
            training: the numbers.
            round_: that closed.
            pushes: of which slots, in the order of their sum.
            budget: bytes of frames that the update may take; 0 for no limit.
        """
        record = _record(round_, [contribution for _, contribution in pushes])
        if self._keeper is not None:
            await self._keeper.unused()
        record.learning_rate = training.optimizer.learning_rate
        record.budget_down = budget
        update: Update = await self._in_thread(training.step, round_, record.loss)
        if self._keeper is not None:
            self._tell_times(training, record)
            await self._keeper.commit(commit_record(record, pushes))
        await self._encode(training, update, budget)
        self._tell_times(training, record)
        record.payload_down = update.length
        self._last_made = self._clock()
        return update, record

    async def _encode(self, training: Training, update: Update, budget: int) -> None:
        """Make the frames of an update in a thread, while those that there are are sent."""
        loop = asyncio.get_running_loop()

        def encode() -> None:
            for frame in training.encode(update, budget):
                loop.call_soon_threadsafe(update.append, frame)

        self._published(update, False)
        try:
            await self._in_thread(encode)
        except BaseException:
            self._published(update, True)
            raise

    def _tell_times(self, training: Training, record: pb.RoundRecord) -> None:
        times = training.take_times()
        told = record.server_times
        told.decode += times.decode
        told.step += times.step
        told.encode += times.encode
        record.seconds = self._clock() - self._last_made


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
        samples=sum(each.push.samples for each in contributions),
        loss=sum(n * loss for n, loss in known) / samples if known else math.nan,
        worker_times=pb.StepTimes(**times),
        budget=sum(each.budget for each in contributions),
        spent=sum(each.spent for each in contributions if each.budget),
        payload_up=sum(len(each.push.data) for each in contributions),
    )
