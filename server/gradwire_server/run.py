"""One run: members, rounds, weights and records, held together. Its methods are what the servicer calls.

All state is changed on the event loop; arithmetic goes to threads, one piece at a time where it changes numbers.
"""

import asyncio
import logging
import math
import secrets
import time
import weakref
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from gradwire_common.errors import GradwireError, JoinError, ModelMismatchError, RunEndedError, UsageError
from gradwire_common.manifest import Manifest, Unit
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_common.wire import manifest_from_message
from gradwire_server.admission import check_dtypes, check_same_model, check_same_settings, check_versions
from gradwire_server.broadcast import Broadcast, Update
from gradwire_server.evaluations import Evaluations
from gradwire_server.members import Member, Members
from gradwire_server.pacing import Gate
from gradwire_server.records import Records
from gradwire_server.rounds import Phase, Rounds, Verdict
from gradwire_server.settings import Settings
from gradwire_server.staging import Push
from gradwire_server.training import Training

log = logging.getLogger("gradwire.server")

RING_BYTES = 64 << 20  # frames of past updates kept for watchers that lag behind
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Contribution:
    """What a push says beside its frames."""

    samples: int
    loss: float
    times: pb.StepTimes


@dataclass(frozen=True, slots=True)
class Gates:
    """The two directions of a worker's traffic; they outlive its sessions."""

    up: Gate
    down: Gate


class Run:
    """The run that a server serves."""

    def __init__(self, settings: Settings, records: Records, clock: Callable[[], float] = time.monotonic):
        self.settings = settings
        self.records = records
        self.members = Members(settings.workers, settings.heartbeat, lambda: secrets.token_hex(8))
        self.rounds = Rounds(settings.workers, settings.rounds)
        self.broadcast = Broadcast(RING_BYTES)
        self.evaluations = Evaluations(settings.evaluate_every, settings.rounds)
        self.gates: dict[str, Gates] = {}
        self.training: Training | None = None
        self.failure: GradwireError | None = None
        self._shared_settings: dict[str, str] = {}
        self._weights_from: Member | None = None
        self._pushes: dict[int, Push] = {}
        self._contributions: dict[int, Contribution] = {}
        self._snapshot: Callable[[], Update | None] = lambda: None
        self._pool = ThreadPoolExecutor(thread_name_prefix="gradwire-numbers")
        self._numbers = asyncio.Lock()  # held while weights or sums change
        self._joining = asyncio.Lock()
        self._stirred = asyncio.Event()  # something happened that may let a round go on
        self.over = asyncio.Event()
        self.everyone_gone = asyncio.Event()
        self._clock = clock
        self._began = self._committed = clock()

    # ---------------------------------------------------------------------------------------------- membership

    async def join(self, request: pb.JoinRequest) -> Member:
        """Make a worker a member; the first one's model and settings define the run.

        Raises:
            JoinError, ModelMismatchError, ConfigError, RunEndedError: it may not join; says what differs.
        """
        check_versions(request)
        if self.rounds.phase is Phase.ENDED:
            raise RunEndedError(f"the run ended at version {self.rounds.version or 0}; got a join")
        async with self._joining:
            manifest = manifest_from_message(request.manifest)
            if self.training is None or (self.rounds.version is None and not self.members.alive):
                await self._define(manifest, dict(request.settings))
            else:
                check_same_model(self.training.manifest, manifest)
                check_same_settings(self._shared_settings, request.settings)
            wanted = request.slot if request.HasField("slot") else None
            member = self.members.join(request.worker_id, wanted, self._clock())
        self.everyone_gone.clear()
        self.gates_of(member)
        log.info("worker %s joined at slot %d", member.worker_id, member.slot)
        return member

    def hear(self, session: str) -> Member:
        """Return the member that speaks; it is alive by that. Raises as `Members.hear` does."""
        member = self.members.hear(session, self._clock())
        if member.sent == self.rounds.version:
            self.rounds.admit(member.slot)
        return member

    def weights_wanted(self, member: Member) -> bool:
        """Say whether `member` is the one to push initial weights; the first that asks is, as long as it is alive."""
        if self.rounds.version is not None:
            return False
        if self._weights_from is None or not self._weights_from.alive:
            self._weights_from = member
        return self._weights_from is member

    def leave(self, member: Member, reason: str) -> None:
        """Let a member go politely."""
        log.info("worker %s left: %s", member.worker_id, reason or "no reason given")
        self.members.leave(member)
        self._gone(member)

    def connection_broke(self, member: Member) -> None:
        """Take note that a stream of `member` broke: it is dead unless heard of soon."""
        if self.members.is_current(member):
            self.members.suspect(member, self._clock())

    def bury_the_dead(self) -> None:
        """Wait no longer for members that have not been heard of."""
        for member in self.members.bury(self._clock()):
            log.warning("worker %s is dead: nothing heard of it for too long", member.worker_id)
            self._gone(member)

    def gates_of(self, member: Member) -> Gates:
        """Return the gates that the bytes of `member` pass."""
        if member.worker_id not in self.gates:
            limits = self.settings.limits
            self.gates[member.worker_id] = Gates(
                Gate(limits.rate_up, limits.burst), Gate(limits.rate_down, limits.burst)
            )
        return self.gates[member.worker_id]

    def _gone(self, member: Member) -> None:
        self.rounds.dismiss(member.slot)
        self._settle()
        if not self.members.alive:
            self.everyone_gone.set()
        self._stirred.set()

    async def _define(self, manifest: Manifest, shared: dict[str, str]) -> None:
        """Let the first worker's model and settings be the run's."""
        check_dtypes(manifest)
        try:
            self.training = await self._in_thread(
                Training, manifest, self.settings.optimizer, self.settings.downlink, self.settings.uplink.transform
            )
        except (MemoryError, ValueError) as error:
            raise ModelMismatchError(f"model of {manifest.layout.size} entries: {error}") from error
        self._shared_settings = shared
        self.records.n_parameters = manifest.layout.n_parameters

    # ---------------------------------------------------------------------------------------------- pushes

    def expected_units(self, member: Member, header: pb.PushHeader) -> tuple[tuple[Unit, ...], Verdict]:
        """Return the units that a push must hold, and what would become of it now.

        Raises:
            UsageError: it is not what this run wants; RunEndedError: the run is over.
        """
        layout = self._training.layout
        if header.kind == pb.PUSH_KIND_WEIGHTS:
            if header.round != 0:
                raise UsageError(f"push of initial weights: got round {header.round}, want 0")
            done = self.rounds.version is not None
            return layout.units, Verdict.DUPLICATE if done else Verdict.COUNTED
        if header.kind != pb.PUSH_KIND_GRADIENT:
            raise UsageError(f"push: got kind {header.kind}, want {pb.PUSH_KIND_WEIGHTS} or {pb.PUSH_KIND_GRADIENT}")
        if header.base_version + 1 != header.round:
            raise UsageError(
                f"push for round {header.round}: got base version {header.base_version}, want the round - 1"
            )
        if header.samples < 1:
            raise UsageError(f"push for round {header.round}: got {header.samples} samples, want at least 1")
        self._check_coding(header)
        return layout.pushed(header.with_buffers), self.rounds.verdict(member.slot, member.worker_id, header.round)

    def _check_coding(self, header: pb.PushHeader) -> None:
        every = self.settings.buffers_every
        due = every > 0 and header.round % every == 0
        if header.with_buffers != due and self._training.layout.n_buffers:
            raise UsageError(
                f"push for round {header.round}: got buffers {'with' if header.with_buffers else 'without'}, "
                f"want them every {every} rounds"
            )
        got, want = header.transform or "none", self.settings.uplink.transform
        if got != want:
            raise UsageError(f"push for round {header.round}: got transform {got!r}, want {want!r}")

    async def take(self, member: Member, header: pb.PushHeader, data: bytes, end: pb.PushEnd) -> Verdict:
        """Take a whole push of either kind."""
        if header.kind == pb.PUSH_KIND_WEIGHTS:
            return await self.take_weights(member, data)
        return await self.take_push(member, header, data, end)

    async def take_weights(self, member: Member, data: bytes) -> Verdict:
        """Take over initial weights, if there are none yet. Raises DataError if they are damaged."""
        training = self._training
        async with self._numbers:
            if self.rounds.version is not None:
                return Verdict.DUPLICATE
            await self._in_thread(training.load, data)
            self.rounds.begin()
        self.broadcast.begin(0)
        self._began = self._committed = self._clock()
        log.info("got the initial weights from worker %s", member.worker_id)
        return Verdict.COUNTED

    async def take_push(self, member: Member, header: pb.PushHeader, data: bytes, end: pb.PushEnd) -> Verdict:
        """Let a whole push count, where it may. Raises DataError if it is damaged, JoinError if its session ended."""
        push = Push(data, header.samples, header.with_buffers)
        await self._in_thread(self._training.check, push)
        self.hear(header.session)
        verdict = self.rounds.count(member.slot, member.worker_id, header.round)
        if verdict is Verdict.COUNTED:
            self._pushes[member.slot] = push
            self._contributions[member.slot] = Contribution(header.samples, end.loss, end.times)
            member.last_round = header.round
            self._stirred.set()
        return verdict

    # ---------------------------------------------------------------------------------------------- rounds

    async def keep_rounds_going(self) -> None:
        """Add pushes in order and close rounds, for ever. Arithmetic that fails ends the run."""
        while True:
            await self._stirred.wait()
            self._stirred.clear()
            try:
                await self._go_on()
            except GradwireError as error:
                log.error("the run ends: %s", error)
                self._fail(error)
            except Exception as error:
                log.exception("the run ends")
                self._fail(GradwireError(f"round {self.rounds.open_round} failed: {error!r}"))

    async def _go_on(self) -> None:
        """Do what can be done now: add the pushes whose turn it is, close the round if it has all."""
        training = self._training
        while (slot := self.rounds.next_to_add) is not None:
            async with self._numbers:
                await self._in_thread(training.add, self._pushes.pop(slot))
            self.rounds.added(slot)
        if self.rounds.may_close:
            async with self._numbers:
                await self._close(training)

    async def _close(self, training: Training) -> None:
        closing = self.rounds.close()
        told = [self._contributions.pop(slot) for slot in closing.slots]
        record = _record(closing.round, training, told)
        update = await self._in_thread(training.commit, closing.round, record.loss)
        times = training.take_times()
        record.server_times.CopyFrom(pb.ServerTimes(decode=times.decode, step=times.step, encode=times.encode))
        record.seconds = self._clock() - self._committed
        self._committed = self._clock()
        self.records.finish(closing.round - 1)
        self.records.commit(record)
        version = self.rounds.commit()
        self.evaluations.expect(version, frozenset(self.rounds.waited_for))
        self.broadcast.publish(update)
        if self.rounds.phase is Phase.ENDED:
            self.end(f"all {version} rounds are done")

    def _fail(self, error: GradwireError) -> None:
        self.failure = error
        self.end(str(error))

    def end(self, reason: str) -> None:
        """End the run at the version it has; watchers are told why."""
        self.rounds.end()
        self.broadcast.end(reason)
        self.over.set()
        if not self.members.alive:
            self.everyone_gone.set()

    async def stop(self, reason: str) -> None:
        """End the run once the round that is being closed, if any, is committed."""
        async with self._numbers:
            self.end(reason)

    # ---------------------------------------------------------------------------------------------- watching

    async def updates(self, member: Member, have: int | None) -> AsyncGenerator[Update, None]:
        """Yield every version after `have`, oldest first, until the run ends; a snapshot where updates are gone.

        Raises:
            JoinError: the session ended.
        """
        version = -1
        if have is not None and have <= self.broadcast.version:
            version = have
            self.has(member, version)
        while await self.broadcast.news(version):
            if not self.members.is_current(member):
                raise JoinError(f"session ended: worker {member.worker_id} joined again or left")
            update = (self.broadcast.after(version) if version >= 0 else None) or await self.snapshot()
            yield update
            version = update.version

    def has(self, member: Member, version: int) -> None:
        """Take note that `member` has been sent all of `version`; with the newest, it is waited for."""
        member.sent = version
        if member.alive and version == self.rounds.version and self.members.is_current(member):
            self.rounds.admit(member.slot)
            self._stirred.set()
        self._settle()

    async def snapshot(self) -> Update:
        """Return the newest version as a snapshot, made once for all who ask while any of them still sends it."""
        async with self._numbers:
            snapshot = self._snapshot()
            if snapshot is None or snapshot.version != self.rounds.version:
                snapshot = await self._in_thread(self._training.snapshot, self.rounds.version)
                self._snapshot = weakref.ref(snapshot)
        return snapshot

    # ---------------------------------------------------------------------------------------------- book

    def report(self, member: Member, report: pb.EvaluationReport) -> None:
        """Add a worker's evaluation. Raises UsageError if its numbers contradict each other."""
        self.evaluations.report(report.version, member.slot, report.count, report.correct, report.loss_sum)
        self._settle()

    def _settle(self, *, ended: bool = False) -> None:
        """Write down what has become final."""
        alive = self.members.alive
        if alive:
            self.records.finish(min(member.sent for member in alive))
        for evaluation in self.evaluations.take_complete({member.slot for member in alive}, ended=ended):
            self.records.evaluated(evaluation)

    async def finish(self) -> None:
        """Complete the books and let the threads go, once no call comes any more."""
        async with self._numbers:
            self._settle(ended=True)
            self.records.finish(self.rounds.version or 0)
        self._pool.shutdown()

    @property
    def seconds(self) -> float:
        """Since there are weights."""
        return self._clock() - self._began

    @property
    def _training(self) -> Training:
        if self.training is None:
            raise UsageError("no worker has joined yet")
        return self.training

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)


def _record(round_: int, training: Training, told: list[Contribution]) -> pb.RoundRecord:
    """Return the record of a round, as far as its pushes tell; the loss is a mean over samples, times over workers."""
    known = [each for each in told if math.isfinite(each.loss)]
    samples = sum(each.samples for each in known)
    times = {
        field.name: sum(getattr(each.times, field.name) for each in told) / len(told)
        for field in pb.StepTimes.DESCRIPTOR.fields
    }
    return pb.RoundRecord(
        round=round_,
        contributors=len(told),
        samples=sum(each.samples for each in told),
        loss=sum(each.samples * each.loss for each in known) / samples if known else math.nan,
        worker_times=pb.StepTimes(**times),
        learning_rate=training.optimizer.learning_rate,
    )
