"""A run made again from its journal: the same pushes in the same order make the same versions, bit for bit."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from gradwire_common.errors import CheckpointError
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.intake.contribution import Contribution, contribution_of, round_record_of
from gradwire_server.outcome.outcome import ClosedRound
from gradwire_server.rounds.schedule import Counted
from gradwire_server.store.checkpoint import Checkpoint
from gradwire_server.store.journal import Kind, Record
from gradwire_server.versions.broadcast import Update
from gradwire_server.versions.builder import InThread, UpdateDraft
from gradwire_server.versions.training import Training
from gradwire_server.versions.unbounded import can_be_added, may_count

log = logging.getLogger("gradwire.server")

Records = Callable[[int, Callable[[], int]], Iterator[Record]]


@dataclass
class Replayed:
    """Where a run had got to.

    Attributes:
        version: the newest that had been made.
        updates: of the versions after the checkpoint.
        records: of their rounds, and of earlier ones that were not in the book yet at the checkpoint.
        slots: worker -> slot.
        newest: worker -> its newest push that counted in a closed round.
        last_slots: who pushed for the newest version; where rounds are of some workers each, who was there when it was
            made.
        open: slot -> push, of the round that was being collected.
    """

    version: int
    slots: dict[str, int]
    newest: dict[str, Counted]
    last_slots: set[int]
    updates: list[Update] = field(default_factory=list)
    records: list[pb.RoundRecord] = field(default_factory=list)
    open: dict[int, Contribution] = field(default_factory=dict)

    @property
    def expected(self) -> set[int]:
        """Slots whose workers are about to come back: none that its worker has left for another."""
        return (self.last_slots | self.open.keys()) & set(self.slots.values())

    def move(self, worker: str, slot: int) -> None:
        """Note that `slot` is that of `worker`, and of no other any more."""
        if self.slots.get(worker) != slot:
            self.slots = {each: held for each, held in self.slots.items() if held != slot}
            self.slots[worker] = slot


async def replay(
    training: Training, checkpoint: Checkpoint, records_after: Records, in_thread: InThread, *, queues: bool = False
) -> Replayed:
    """Bring `training`, which is at `checkpoint`, to where the journal ends.

    Args:
        training: the numbers.
        checkpoint: where they are.
        records_after: the journal.
        in_thread: runs arithmetic, and reads the disk.
        queues: whether pushes that count may wait for a later round than the one that is closing.

    Raises:
        CheckpointError: a round closed with a push that the journal does not hold.
    """
    meta = checkpoint.meta
    newest = {worker: Counted(*told) for worker, told in meta["newest"].items()}
    newest = {worker: push for worker, push in newest.items() if push.version <= checkpoint.version}
    now = Replayed(checkpoint.version, dict(meta["slots"]), newest, set(meta["waited_for"]))
    now.records += map(round_record_of, meta["records"])
    held: dict[tuple[int, str, int], tuple[int, Contribution]] = {}  # round, worker, digest -> slot, push
    records = records_after(checkpoint.version, lambda: now.version)
    while record := await in_thread(next, records, None):
        if record.kind is Kind.PUSH:
            push = contribution_of(record)
            held.setdefault((record.meta["round"], push.worker, push.push.digest), (record.meta["slot"], push))
            now.move(push.worker, record.meta["slot"])
        elif record.meta["round"] == now.version + 1:
            if not queues:  # there, a worker that pushed for any version is about to push again
                now.last_slots = set()
            await _close(training, now, record, held, in_thread)
            if not queues:
                held = {key: push for key, push in held.items() if key[0] > now.version}
    for slot, push in held.values():
        if await in_thread(may_count, training, push):
            now.open.setdefault(slot, replace(push, bounded=True))
    return now


async def _close(
    training: Training,
    now: Replayed,
    commit: Record,
    held: dict[tuple[int, str, int], tuple[int, Contribution]],
    in_thread: InThread,
) -> None:
    """Make the version of a round that closed. Its update is encoded again, so its record tells how long that took."""
    round_ = commit.meta["round"]
    for slot, worker, digest, pushed_for in commit.meta["pushes"]:
        found = held.pop((pushed_for, worker, digest), None)
        if found is None:
            raise CheckpointError(f"journal: round {round_} closed with a push of worker {worker}, which is missing")
        _, push = found
        if await in_thread(can_be_added, training, push, len(commit.meta["pushes"])):
            await in_thread(training.add, push.push, slot)
            now.last_slots.add(slot)
        now.newest[worker] = Counted(pushed_for, digest, round_)
    for worker, slot in commit.meta.get("present", {}).items():
        now.move(worker, slot)
        now.last_slots.add(slot)
    training.set_options(tuple(commit.meta.get("options", ())))
    record = round_record_of(commit.meta["record"])
    draft = UpdateDraft(round_, in_thread, _kept_already)
    update, digest = await draft.fill(
        training, ClosedRound(round_, record.loss, record.budget_down, len(commit.meta["pushes"]))
    )
    if training.dropped:
        log.warning("journal: the pushes of round %d count as zero: %s", round_, training.dropped)
    update.finish(digest)
    record.payload_down, record.server_times.encode = update.length, draft.encode_seconds
    now.updates.append(update)
    now.records.append(record)
    now.version = round_


async def _kept_already(_: Update) -> None:
    """Do nothing: the end of the round is on the disk, and no worker watches yet."""
