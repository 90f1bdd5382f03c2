import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gradwire_common.errors import RunEndedError, UsageError
from gradwire_server.rounds import Phase, Rounds, Verdict


def collecting(*slots: int, rounds: int = 0) -> Rounds:
    world = Rounds(len(slots), rounds)
    world.begin()
    for slot in slots:
        world.admit(slot)
    return world


def add_all(world: Rounds) -> None:
    while (slot := world.next_to_add) is not None:
        world.added(slot)


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
    assert world.next_to_add is None
    world.count(0, "a", 1)
    assert world.next_to_add == 0
    world.added(0)
    assert world.next_to_add is None
    world.dismiss(1)
    assert world.next_to_add == 2


def test_the_first_round_waits_until_enough_workers_have_come() -> None:
    world = Rounds(2, 0)
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


def test_a_push_for_a_round_that_has_not_begun_is_refused_with_both_numbers() -> None:
    with pytest.raises(UsageError, match="got a push for round 3, want one for round 1"):
        collecting(0).verdict(0, "a", 3)
    with pytest.raises(UsageError, match="before there are initial weights"):
        Rounds(1, 0).verdict(0, "a", 1)


def test_the_run_ends_at_its_last_version() -> None:
    world = collecting(0, rounds=1)
    world.count(0, "a", 1)
    close(world)
    assert world.phase is Phase.ENDED
    with pytest.raises(RunEndedError, match="the run ended at version 1; got a push for round 2"):
        world.verdict(0, "a", 2)


def test_a_worker_that_joins_in_the_middle_of_a_round_may_be_added_last() -> None:
    world = collecting(1, 2)
    world.count(1, "b", 1)
    world.added(1)
    world.admit(0)
    world.count(2, "c", 1)
    assert world.next_to_add is None  # the round waits for slot 0 now
    world.count(0, "a", 1)
    assert close(world) == (1, 0, 2)


class SmallWorld(RuleBasedStateMachine):
    """Four slots come, push, repeat themselves, die and come back, in any order."""

    slots = st.integers(0, 3)

    @initialize(workers=st.integers(1, 3), rounds=st.integers(0, 4))
    def begin(self, workers: int, rounds: int) -> None:
        self.world = Rounds(workers, rounds)
        self.world.begin()
        self.counted: set[int] = set()
        self.seen: set[int] = set()

    @rule(slot=slots)
    def admit(self, slot: int) -> None:
        self.world.admit(slot)
        self.seen.add(slot)

    @rule(slot=slots)
    def dismiss(self, slot: int) -> None:
        self.world.dismiss(slot)

    @rule(slot=slots, behind=st.integers(0, 2))
    def push(self, slot: int, behind: int) -> None:
        if self.world.phase is Phase.ENDED:
            return
        round_ = self.world.open_round - behind
        if round_ < 1:
            return
        got = self.world.count(slot, f"worker {slot}", round_)
        if behind:
            assert got is Verdict.LATE
        elif slot in self.counted:
            assert got is Verdict.DUPLICATE
        elif self.world.phase is Phase.CLOSING:
            assert got is Verdict.LATE
        else:
            assert got is Verdict.COUNTED
            self.counted.add(slot)
            self.seen.add(slot)

    @precondition(lambda self: self.world.next_to_add is not None)
    @rule()
    def add(self) -> None:
        slot = self.world.next_to_add
        assert slot is not None
        assert not any(other < slot for other in self.world.missing)
        self.world.added(slot)

    @precondition(lambda self: self.world.may_close and self.world.next_to_add is None)
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
        self.counted = set()

    @invariant()
    def never_closes_early_and_never_hangs(self) -> None:
        world = self.world
        complete = bool(self.counted) and world.waited_for <= self.counted and len(self.seen) >= world.workers
        assert world.may_close == (complete and world.phase is Phase.COLLECTING)
        assert world.missing == world.waited_for - world.contributors
        assert world.contributors == self.counted


TestSmallWorld = SmallWorld.TestCase
TestSmallWorld.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
