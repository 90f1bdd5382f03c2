"""The asynchronous mode's state machine: what counts is applied once, in order, and never too stale."""

import math
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gradwire_common.errors import RunEndedError, UsageError
from gradwire_server.rounds.asynchronous import Arrivals
from gradwire_server.rounds.schedule import Counted, Phase, Verdict
from gradwire_server.rounds.schedule_settings import ScheduleSettings


def collecting(*slots: int, rounds: int = 0, staleness: int = 2) -> Arrivals:
    world = Arrivals(ScheduleSettings(len(slots), rounds, staleness=staleness))
    world.begin()
    for slot in slots:
        world.admit(slot)
    return world


def apply_one(world: Arrivals) -> int:
    """Make the next version; return the slot whose push it is made of."""
    (added,) = world.pop_ready()
    closing = world.close()
    assert closing.slots == (added,)
    assert closing.round == world.commit()
    return added


def test_every_push_makes_a_version_in_the_order_of_arrival() -> None:
    world = collecting(0, 1)
    assert world.count(1, "b", 1) is Verdict.COUNTED
    assert world.count(0, "a", 1) is Verdict.COUNTED
    assert (world.newest["b"].version, world.newest["a"].version) == (1, 2)
    assert (apply_one(world), apply_one(world)) == (1, 0)
    assert world.version == 2


def test_a_push_counts_up_to_the_staleness_and_is_late_beyond_it() -> None:
    world = collecting(0, 1, 2, staleness=1)
    assert world.count(0, "a", 1) is Verdict.COUNTED
    assert world.count(1, "b", 1) is Verdict.COUNTED  # it will be applied to version 1
    assert world.count(2, "c", 1) is Verdict.LATE  # it would be applied to version 2
    assert world.version_to_await("c", 1, Verdict.LATE) == 2
    apply_one(world)
    apply_one(world)
    assert world.count(2, "c", 2) is Verdict.COUNTED


def test_a_push_that_is_repeated_counts_once_and_an_older_one_is_late() -> None:
    world = collecting(0, staleness=5)
    world.count(0, "a", 1, digest=77)
    assert world.count(0, "a", 1) is Verdict.DUPLICATE
    assert world.version_to_await("a", 1, Verdict.DUPLICATE) == 1
    apply_one(world)
    assert world.count(0, "a", 1) is Verdict.DUPLICATE
    assert world.newest["a"] == Counted(1, 77, 1)
    world.count(0, "a", 2)
    apply_one(world)
    assert world.count(0, "a", 1) is Verdict.LATE


def test_nothing_is_applied_before_enough_workers_have_come() -> None:
    world = Arrivals(ScheduleSettings(2, staleness=4))
    world.begin()
    world.count(0, "a", 1)
    assert world.phase is Phase.WAITING_FOR_WORKERS
    assert world.pop_ready() == []
    world.admit(1)
    assert apply_one(world) == 0


def test_no_room_is_kept_for_the_dead() -> None:
    world = collecting(0, 1)
    world.dismiss(0, dead=True)
    assert world.first_awaited == math.inf


def test_no_push_counts_that_would_make_a_version_after_the_last() -> None:
    world = collecting(0, 1, rounds=1)
    assert world.count(0, "a", 1) is Verdict.COUNTED
    assert world.count(1, "b", 1) is Verdict.LATE
    apply_one(world)
    assert world.phase is Phase.ENDED
    assert world.count(1, "b", 1) is Verdict.LATE  # its worker continues to the last version, and sees the end
    assert world.version_to_await("b", 1, Verdict.LATE) == 1


def test_pushes_that_cannot_be_are_refused_with_the_reason() -> None:
    with pytest.raises(UsageError, match="push is for round 3; want one for round 1"):
        collecting(0).verdict(0, "a", 3)
    with pytest.raises(UsageError, match="comes before the initial weights"):
        Arrivals(ScheduleSettings(1, staleness=1)).verdict(0, "a", 1)
    stopped = collecting(0)
    stopped.end("SIGTERM")
    with pytest.raises(RunEndedError, match=r"ended at version 0 \(SIGTERM\)"):
        stopped.verdict(0, "a", 1)


@dataclass(frozen=True)
class Sent:
    slot: int
    worker: str
    round: int


class SmallWorld(RuleBasedStateMachine):
    """Four workers push however they like, come, go and repeat themselves; the server is killed and resumed."""

    slots = st.integers(0, 3)

    @initialize(workers=st.integers(1, 3), rounds=st.integers(0, 6), staleness=st.integers(0, 3))
    def begin(self, workers: int, rounds: int, staleness: int) -> None:
        self.settings = ScheduleSettings(workers, rounds, staleness=staleness)
        self.world = Arrivals(self.settings)
        self.world.begin()
        self.counted: list[Sent] = []  # in order
        self.promised: dict[Sent, int] = {}
        self.applied: list[Sent] = []
        self.seen: set[int] = set()

    @rule(slot=slots)
    def admit(self, slot: int) -> None:
        self.world.admit(slot)
        self.seen.add(slot)

    @rule(slot=slots, dead=st.booleans())
    def dismiss(self, slot: int, dead: bool) -> None:
        self.world.dismiss(slot, dead=dead)

    @rule(slot=slots, other=st.booleans(), behind=st.integers(0, 5))
    def push(self, slot: int, other: bool, behind: int) -> None:
        sent = Sent(slot, f"{'other' if other else 'worker'} {slot}", self.world.open_round - behind)
        if sent.round < 1:
            return
        before = self.world.promised
        got = self.world.count(slot, sent.worker, sent.round)
        newest = max((each.round for each in self.counted if each.worker == sent.worker), default=0)
        waits = any(each.slot == slot for each in self.counted[len(self.applied) :])
        fresh = before - (sent.round - 1) <= self.settings.staleness and before != (self.settings.rounds or -1)
        if sent.round == newest:
            assert got is Verdict.DUPLICATE
        else:
            assert got is (Verdict.COUNTED if fresh and sent.round > newest and not waits else Verdict.LATE)
        if got is Verdict.COUNTED:
            self.counted.append(sent)
            self.seen.add(slot)
        if got is not Verdict.LATE:
            version = self.world.version_to_await(sent.worker, sent.round, got)
            assert self.promised.setdefault(sent, version) == version
        else:  # a worker that waits for this version can push for a round that it has not pushed for
            assert (
                self.world.version_to_await(sent.worker, sent.round, got) >= sent.round
                or before == self.settings.rounds
            )

    @precondition(lambda self: self.world.has_ready)
    @rule()
    def add(self) -> None:
        assert self.world.pop_ready() == [self.counted[len(self.applied)].slot]

    @precondition(lambda self: self.world.may_close)
    @rule()
    def close(self) -> None:
        assert self.world.close().slots == (self.counted[len(self.applied)].slot,)

    @precondition(lambda self: self.world.phase is Phase.CLOSING)
    @rule()
    def commit(self) -> None:
        sent, before = self.counted[len(self.applied)], self.world.version or 0
        assert before - (sent.round - 1) <= self.settings.staleness
        assert self.world.commit() == before + 1 == self.promised[sent]
        self.applied.append(sent)

    @rule()
    def kill_and_resume(self) -> None:
        """What the journal tells: the version, what was applied, and what counts and waits, in order."""
        version = self.world.version or 0
        newest = {sent.worker: Counted(sent.round, 0, self.promised[sent]) for sent in self.applied}
        self.world = Arrivals(self.settings)
        self.world.resume(version, set(), set(self.seen), newest)
        for sent in self.counted[len(self.applied) :]:
            assert self.world.count(sent.slot, sent.worker, sent.round) is Verdict.COUNTED
            assert self.world.newest[sent.worker].version == self.promised[sent]

    @invariant()
    def nothing_is_lost_doubled_or_stuck(self) -> None:
        world = self.world
        assert world.version == len(self.applied)
        assert len(set(self.counted)) == len(self.counted)
        assert world.promised == len(self.counted)
        waiting, enough = len(self.counted) > len(self.applied), len(self.seen) >= self.settings.workers
        if waiting and enough and world.phase is not Phase.CLOSING:
            assert world.has_ready != world.may_close
        if not waiting:
            assert not world.has_ready
            assert not world.may_close


TestSmallWorld = SmallWorld.TestCase
TestSmallWorld.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)
