"""Nobody is waited for who is not there: members that change their slot or are displaced leave nothing behind."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gradwire_common import __version__
from gradwire_common.codec.frames import FRAME_VERSION
from gradwire_common.errors import GradwireError
from gradwire_common.layout.manifest import Manifest, TensorSpec
from gradwire_common.settings.config import Config
from gradwire_common.transport.channel import PROTOCOL_VERSION
from gradwire_common.transport.packing import digest_of, serialize
from gradwire_common.transport.wire import manifest_to_message
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.intake.membership import Membership
from gradwire_server.rounds.asynchronous import Arrivals
from gradwire_server.rounds.member import Member
from gradwire_server.rounds.schedule import Phase, Schedule, Verdict
from gradwire_server.rounds.schedule_settings import ScheduleSettings
from gradwire_server.rounds.synchronous import Rounds
from running import copy_as_killed, eventually, running_server
from safety.beside import beside_two, follow, make_round
from server.plain_worker import PlainWorker, gradient_of, plain_workers, run_config

MANIFEST = Manifest((TensorSpec("weight", (5,)),))
PACKED = serialize(MANIFEST)
WORKERS = st.sampled_from("abcd")


class Comings(RuleBasedStateMachine):
    """Four workers join at any slot, follow, push, speak in sessions old and new, fall silent, leave and come back."""

    asynchronous = False

    @initialize(workers=st.integers(1, 3), quorum=st.integers(1, 3))
    def begin(self, workers: int, quorum: int) -> None:
        self.now = 0.0
        if self.asynchronous:
            self.schedule: Schedule = Arrivals(ScheduleSettings(workers, staleness=3))
        else:
            self.schedule = Rounds(ScheduleSettings(workers, 0, quorum))
        self.schedule.begin()
        self.membership = Membership(Config(workers=workers, heartbeat=1.0), self.schedule, lambda: self.now)
        self.sessions: list[Member] = []
        self.arriving: list[tuple[Member, int]] = []

    @rule(worker=WORKERS, slot=st.none() | st.integers(0, 4))
    def join(self, worker: str, slot: int | None) -> None:
        request = pb.JoinRequest(
            worker_id=worker,
            package_version=__version__,
            protocol_version=PROTOCOL_VERSION,
            frame_version=FRAME_VERSION,
            manifest=manifest_to_message(MANIFEST),
            manifest_digest=digest_of(PACKED),
            slot=slot,
        )

        async def define(*_: object) -> None:
            pass

        try:
            member = asyncio.run(self.membership.join(request, None, define))
        except GradwireError:
            return
        assert member is not None
        self.sessions.append(member)

    @precondition(lambda self: self.sessions)
    @rule(data=st.data())
    def speak(self, data: st.DataObject) -> None:
        with suppress(GradwireError):
            self.membership.hear(data.draw(st.sampled_from(self.sessions)).session)

    @precondition(lambda self: self.sessions)
    @rule(data=st.data())
    def follow(self, data: st.DataObject) -> None:
        """Its stream of updates, which may be an old session's, has brought the newest version."""
        self.membership.holds(data.draw(st.sampled_from(self.sessions)), self.schedule.version or 0)

    @precondition(lambda self: self.sessions)
    @rule(data=st.data(), behind=st.integers(0, 2))
    def push(self, data: st.DataObject, behind: int) -> None:
        """A push is whole; it counts at once, or after other things have happened while the disk has it."""
        member = data.draw(st.sampled_from(self.sessions))
        try:
            self.membership.hear(member.session)
        except GradwireError:
            return
        round_ = self.schedule.open_round - behind
        if round_ >= 1:
            self.arriving.append((member, round_))
            if not self.schedule.queues:
                self.arrive()

    @precondition(lambda self: self.arriving)
    @rule()
    def arrive(self) -> None:
        member, round_ = self.arriving.pop(0)
        if self.schedule.count(member.slot, member.worker_id, round_) is Verdict.COUNTED:
            self.membership.counted(member)

    @precondition(lambda self: self.sessions)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        with suppress(GradwireError):
            self.membership.leave(self.membership.hear(data.draw(st.sampled_from(self.sessions)).session), "")

    @rule(seconds=st.sampled_from([1.0, 4.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.membership.expire()

    @rule()
    def pass_deadline(self) -> None:
        self.schedule.pass_deadline()

    @precondition(lambda self: self.schedule.phase is Phase.COLLECTING)
    @rule()
    def close(self) -> None:
        self.schedule.pop_ready()
        if self.schedule.may_close:
            self.schedule.close()
            self.schedule.commit()

    @invariant()
    def who_is_waited_for_is_there_and_can_push(self) -> None:
        alive = {member.slot: member for member in self.membership.members.alive}
        assert len(alive) == len(self.membership.members.alive)
        assert self.schedule.waited_for <= alive.keys()
        assert all(self.membership.members.is_current(member) for member in alive.values())
        for slot in self.schedule.missing:
            worker = alive[slot].worker_id
            assert self.schedule.verdict(slot, worker, self.schedule.open_round) is Verdict.COUNTED


class AsynchronousComings(Comings):
    asynchronous = True


TestComings = Comings.TestCase
TestAsynchronousComings = AsynchronousComings.TestCase
TestComings.settings = TestAsynchronousComings.settings = settings(max_examples=100, stateful_step_count=30)


def leaves(ghost: PlainWorker) -> None:
    ghost.join(slot=77)
    ghost.leave()


def breaks_off(ghost: PlainWorker) -> None:
    ghost.join(slot=77)
    ghost.channel.close()


def moves_often(ghost: PlainWorker) -> None:
    for slot in (40, 3, 77):
        ghost.join(slot=slot)
        ghost.watch()
        ghost.receive()
    ghost.leave()


def joins_twice(ghost: PlainWorker) -> None:
    """The stream of its first session is still open."""
    ghost.join(slot=77)
    ghost.join()
    ghost.leave()


@pytest.mark.parametrize("vanish", [leaves, breaks_off, moves_often, joins_twice])
def test_a_worker_that_joins_again_at_another_slot_and_vanishes_stops_nobody(tmp_path: Path, vanish) -> None:
    with beside_two(tmp_path, heartbeat=0.5) as (_, (a, b), (ghost,)):
        make_round(1, a, b)
        ghost.begin()
        assert ghost.version == 1
        vanish(ghost)
        for round_ in (2, 3):
            make_round(round_, a, b)
        follow(a, 3)


def test_a_worker_that_is_killed_and_comes_back_at_another_slot_is_waited_for_there_alone(tmp_path: Path) -> None:
    with beside_two(tmp_path) as (_, (a, b), _):
        make_round(1, a, b)
        b.join(slot=5)
        b.watch()
        b.receive()
        for round_ in (2, 3):
            follow(a, round_ - 1)
            a.push(gradient_of(round_), round_)
            assert [each.slot for each in a.status().workers] == [0, 5]
            assert "b (slot 5)" in eventually(lambda: a.status().wait.what)
            make_round(round_, b)
        follow(a, 3)


def test_a_push_that_counts_is_not_waited_for_a_second_time_at_another_slot(tmp_path: Path) -> None:
    with beside_two(tmp_path) as (_, (a, b), _):
        b.push(gradient_of(0), 1)
        b.join(slot=5)
        b.watch()
        b.receive()
        assert b.push(gradient_of(0), 1).verdict == pb.VERDICT_DUPLICATE
        a.push(gradient_of(0), 1)
        follow(b, 1)
        make_round(2, a, b)
        follow(a, 2)


@pytest.mark.parametrize("pushes_again", [False, True])
def test_a_resumed_run_waits_for_no_slot_that_its_worker_had_left(tmp_path: Path, pushes_again: bool) -> None:
    """A kill is played by a copy of the run's folder, taken while the server runs."""
    runs, copy = tmp_path / "runs", tmp_path / "copy"
    with beside_two(runs) as (_, (a, b), _):
        make_round(1, a, b)
        b.join(slot=5)
        b.watch()
        b.receive()
        if pushes_again:
            b.push(gradient_of(2), 2)
        copy_as_killed(runs, copy)
    config = run_config(copy, rounds=0, evaluate_every=0, resume=True)
    with running_server(config) as server, plain_workers(server.address, 2) as (a, b):
        for worker, slot in ((a, 0), (b, 5)):
            worker.join(slot=slot)
            worker.watch()
            follow(worker, 1)
        make_round(2, a)
        assert b.push(gradient_of(2), 2).verdict == (pb.VERDICT_DUPLICATE if pushes_again else pb.VERDICT_COUNTED)
        make_round(3, a, b)
        follow(a, 3)
