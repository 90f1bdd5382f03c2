import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gradwire_common.errors import RunEndedError, UsageError
from gradwire_server.rounds.schedule import Counted, Phase, Verdict
from gradwire_server.rounds.schedule_settings import ScheduleSettings
from gradwire_server.rounds.synchronous import Rounds


def collecting(*slots: int, rounds: int = 0, quorum: int = 1) -> Rounds:
    world = Rounds(ScheduleSettings(len(slots), rounds, quorum))
    world.begin()
    for slot in slots:
        world.admit(slot)
    return world


def add_all(world: Rounds) -> None:
    world.pop_ready()


def close(world: Rounds) -> tuple[int, ...]:
    add_all(world)
    closing = world.close()
    world.commit()
    return closing.slots


def test_a_round_closes_when_all_who_are_waited_for_have_pushed() -> None:
    world = collecting(0, 1)
    assert world.count(1, "b", 1) is Verdict.COUNTED
    assert not world.may_close
    assert world.count(0, "a", 1) is Verdict.COUNTED
    assert world.may_close
    assert close(world) == (0, 1)
    assert (world.version, world.open_round) == (1, 2)


def test_pushes_are_added_in_the_order_of_slots_whenever_they_come() -> None:
    world = collecting(0, 1, 2)
    world.count(2, "c", 1)
    assert not world.has_ready
    world.count(0, "a", 1)
    assert world.pop_ready() == [0]
    assert not world.has_ready
    world.dismiss(1)
    assert world.pop_ready() == [2]


def test_the_first_round_waits_until_enough_workers_have_come() -> None:
    world = Rounds(ScheduleSettings(2))
    assert world.phase is Phase.WAITING_FOR_WEIGHTS
    world.begin()
    world.admit(0)
    world.count(0, "a", 1)
    assert world.phase is Phase.WAITING_FOR_WORKERS
    assert not world.may_close
    world.admit(1)
    world.count(1, "b", 1)
    assert close(world) == (0, 1)
    world.dismiss(1)  # from now on one is enough
    world.count(0, "a", 2)
    assert close(world) == (0,)


def test_a_dead_worker_is_not_waited_for_and_its_push_still_counts() -> None:
    world = collecting(0, 1)
    world.count(0, "a", 1)
    world.dismiss(0)
    world.dismiss(1)
    assert close(world) == (0,)


def test_a_round_without_pushes_never_closes() -> None:
    world = collecting(0)
    world.dismiss(0)
    assert not world.may_close


def test_a_push_counts_once() -> None:
    world = collecting(0, 1)
    assert world.count(0, "a", 1) is Verdict.COUNTED
    assert world.count(0, "a", 1) is Verdict.DUPLICATE
    assert world.count(0, "another at the same slot", 1) is Verdict.LATE
    assert world.contributors == {0}


def test_a_push_for_a_closed_round_is_late() -> None:
    world = collecting(0, 1)
    world.dismiss(1)
    world.count(0, "a", 1)
    add_all(world)
    world.close()
    assert world.phase is Phase.CLOSING
    assert world.count(1, "b", 1) is Verdict.LATE
    assert world.count(0, "a", 1) is Verdict.DUPLICATE
    world.commit()
    assert world.count(1, "b", 1) is Verdict.LATE


def test_a_push_that_counted_is_a_duplicate_however_long_its_round_is_closed() -> None:
    world = collecting(0, rounds=1)
    world.count(0, "a", 1, digest=77)
    close(world)
    assert world.phase is Phase.ENDED
    assert world.count(0, "a", 1) is Verdict.DUPLICATE
    assert world.newest["a"] == Counted(1, 77, 1)


def test_the_quorum_suffices_once_the_deadline_has_passed() -> None:
    world = collecting(0, 1, 2, quorum=2)
    world.count(2, "c", 1)
    world.pass_deadline()
    assert not world.may_close
    world.count(1, "b", 1)
    assert close(world) == (1, 2)
    assert world.missing == {0, 1, 2}  # the next round has a deadline of its own
    assert world.count(0, "a", 1) is Verdict.LATE


def test_a_deadline_that_passes_after_the_quorum_closes_the_round() -> None:
    world = collecting(0, 1, 2, quorum=2)
    world.count(2, "c", 1)
    world.count(1, "b", 1)
    assert not world.may_close
    world.pass_deadline()
    world.admit(0)  # who comes now takes part in the next round
    assert close(world) == (1, 2)


def test_no_deadline_passes_before_enough_workers_have_come() -> None:
    world = Rounds(ScheduleSettings(2))
    world.begin()
    world.count(0, "a", 1)
    world.pass_deadline()
    assert not world.may_close


def test_a_round_waits_for_the_dead_where_the_quorum_cannot_be_had_without_them() -> None:
    world = collecting(0, 1, 2, quorum=3)
    world.dismiss(0, dead=True)
    world.count(1, "b", 1)
    world.count(2, "c", 1)
    assert not world.may_close
    assert not world.has_ready  # slot 0 will come back, and is summed first
    world.count(0, "a", 1)
    assert close(world) == (0, 1, 2)


def test_a_quorum_that_can_be_had_without_the_dead_does_not_wait_for_them() -> None:
    world = collecting(0, 1, 2, quorum=2)
    world.dismiss(0, dead=True)
    world.count(1, "b", 1)
    assert world.pop_ready() == [1]
    world.count(2, "c", 1)
    assert close(world) == (1, 2)


def test_a_resumed_run_waits_for_all_who_took_part() -> None:
    world = Rounds(ScheduleSettings(2))
    world.resume(5, {0, 1}, {0, 1}, {"a": Counted(5, 77, 5)})
    assert world.phase is Phase.COLLECTING
    assert world.count(0, "a", 5) is Verdict.DUPLICATE
    assert world.count(1, "b", 6) is Verdict.COUNTED
    assert not world.may_close
    world.count(0, "a", 6)
    assert close(world) == (0, 1)


def test_a_push_for_a_round_that_has_not_begun_is_refused_with_both_numbers() -> None:
    with pytest.raises(UsageError, match="push is for round 3; want one for round 1"):
        collecting(0).verdict(0, "a", 3)
    with pytest.raises(UsageError, match="comes before the initial weights"):
        Rounds(ScheduleSettings(1)).verdict(0, "a", 1)


def test_the_run_ends_at_its_last_version() -> None:
    world = collecting(0, rounds=1)
    world.count(0, "a", 1)
    close(world)
    assert world.phase is Phase.ENDED
    with pytest.raises(RunEndedError, match="push for round 2 cannot count: the run ended at version 1"):
        world.verdict(0, "a", 2)


def test_a_worker_that_joins_in_the_middle_of_a_round_may_be_added_last() -> None:
    world = collecting(1, 2)
    world.count(1, "b", 1)
    assert world.pop_ready() == [1]
    world.admit(0)
    world.count(2, "c", 1)
    assert not world.has_ready  # the round waits for slot 0 now
    world.count(0, "a", 1)
    assert close(world) == (1, 0, 2)


class SmallWorld(RuleBasedStateMachine):
    """Four slots come, push, repeat themselves, leave, die and come back, in any order; deadlines pass."""

    slots = st.integers(0, 3)

    @initialize(workers=st.integers(1, 3), rounds=st.integers(0, 4), quorum=st.integers(1, 3))
    def begin(self, workers: int, rounds: int, quorum: int) -> None:
        self.world = Rounds(ScheduleSettings(workers, rounds, quorum))
        self.world.begin()
        self.last: dict[int, int] = {}
        self.added: set[int] = set()
        self.overdue = False
        self.counted: set[int] = set()
        self.seen: set[int] = set()

    @rule(slot=slots)
    def admit(self, slot: int) -> None:
        self.world.admit(slot)
        self.seen.add(slot)

    @rule(slot=slots, dead=st.booleans())
    def dismiss(self, slot: int, dead: bool) -> None:
        self.world.dismiss(slot, dead=dead)

    @rule()
    def pass_deadline(self) -> None:
        self.overdue = self.overdue or self.world.phase is Phase.COLLECTING
        self.world.pass_deadline()

    @rule(slot=slots, behind=st.integers(0, 2))
    def push(self, slot: int, behind: int) -> None:
        if self.world.phase is Phase.ENDED:
            return
        round_ = self.world.open_round - behind
        if round_ < 1:
            return
        got = self.world.count(slot, f"worker {slot}", round_)
        if self.last.get(slot) == round_:
            assert got is Verdict.DUPLICATE
        elif behind or self.world.phase is Phase.CLOSING:
            assert got is Verdict.LATE
        else:
            assert got is Verdict.COUNTED
            self.counted.add(slot)
            self.seen.add(slot)
            self.last[slot] = round_

    @rule()
    def add(self) -> None:
        slots = self.world.pop_ready()
        assert slots == sorted(slots)
        assert self.overdue or not any(other < slot for slot in slots for other in self.world.missing)
        assert not self.world.has_ready
        self.added |= set(slots)

    @precondition(lambda self: self.world.may_close and not self.world.has_ready)
    @rule()
    def close(self) -> None:
        slots = self.world.close().slots
        assert set(slots) == self.counted
        assert len(set(slots)) == len(slots)

    @precondition(lambda self: self.world.phase is Phase.CLOSING)
    @rule()
    def commit(self) -> None:
        before = self.world.version or 0
        assert self.world.commit() == before + 1
        self.counted, self.added = set(), set()
        self.overdue = False

    @invariant()
    def never_closes_early_and_never_hangs(self) -> None:
        world = self.world
        quorum, enough = len(self.counted) >= world.settings.quorum, len(self.seen) >= world.settings.workers
        complete = self.overdue or world.waited_for <= self.counted
        assert world.may_close == (quorum and enough and complete and world.phase is Phase.COLLECTING)
        assert world.missing == (set() if self.overdue and quorum else world.waited_for - world.contributors)
        assert world.contributors == self.counted
        if world.may_close:  # no push that counts is held back indefinitely
            assert world.has_ready or not self.unadded

    @property
    def unadded(self) -> set[int]:
        return self.counted - self.added


TestSmallWorld = SmallWorld.TestCase
TestSmallWorld.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
