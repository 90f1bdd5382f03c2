"""Rounds of some workers each, and rounds that a number of samples closes; pure, without a server."""

import asyncio

import pytest

from gradwire_common.errors import ConfigError, RunEndedError, UsageError
from gradwire_common.settings.config import Config
from gradwire_common.settings.waits import Sampled
from gradwire_server.intake.called import Called
from gradwire_server.rounds.schedule import Phase, Verdict
from gradwire_server.rounds.schedule_settings import ScheduleSettings
from gradwire_server.rounds.synchronous import Rounds


def rounds(workers: int = 6, sampled: int = 2, **settings: int) -> Rounds:
    schedule = Rounds(ScheduleSettings(workers, sampled=sampled, **settings))
    schedule.begin()
    for slot in range(workers):
        schedule.admit(slot, f"w{slot}")
    return schedule


def push(schedule: Rounds, slot: int, samples: int = 1) -> Verdict:
    return schedule.count(slot, f"w{slot}", schedule.open_round, samples=samples)


def close(schedule: Rounds) -> set[int]:
    """Let all that are called push; return them once the round is over."""
    called = set(schedule.called)
    for slot in sorted(schedule.missing):
        assert push(schedule, slot) is Verdict.COUNTED
    schedule.pop_ready()
    assert set(schedule.close().slots) == called
    schedule.commit()
    return called


def test_each_round_is_of_as_many_as_asked_and_in_the_end_of_all():
    schedule = rounds()
    seen = [close(schedule) for _ in range(30)]
    assert {len(called) for called in seen} == {2}
    assert set.union(*seen) == set(range(6))
    assert len(set(map(frozenset, seen))) > 5


def test_the_same_seed_draws_the_same_and_another_does_not():
    first, again, other = rounds(seed=1), rounds(seed=1), rounds(seed=2)
    drawn = [[close(each) for _ in range(10)] for each in (first, again, other)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_nobody_takes_part_before_all_have_joined():
    schedule = Rounds(ScheduleSettings(3, sampled=1))
    schedule.begin()
    schedule.admit(0, "w0")
    schedule.admit(1, "w1")
    assert schedule.phase is Phase.WAITING_FOR_WORKERS
    assert not schedule.called
    assert push(schedule, 0) is Verdict.LATE
    schedule.admit(2, "w2")
    assert len(schedule.called) == 1


def test_a_push_of_one_that_was_not_drawn_is_late():
    schedule = rounds()
    other = next(iter(schedule.waited_for - schedule.called))
    assert not schedule.takes(other)
    assert push(schedule, other) is Verdict.LATE
    assert other not in schedule.contributors


@pytest.mark.parametrize("dead", [True, False])
def test_another_takes_the_place_of_one_that_goes_without_having_pushed(dead):
    schedule = rounds()
    first, second = sorted(schedule.called)
    push(schedule, first)
    schedule.dismiss(second, dead=dead)
    assert len(schedule.called) == 2
    assert second not in schedule.called
    schedule.dismiss(first, dead=dead)  # its push counts, so nobody takes its place
    assert schedule.missing == schedule.called
    assert len(schedule.missing) == 1
    schedule.admit(second, f"w{second}")  # it is back: another was drawn meanwhile
    assert len(schedule.missing) == 1
    push(schedule, *schedule.missing)
    assert schedule.may_close


def test_fewer_workers_than_a_round_is_of_make_a_round_and_those_who_come_join_it():
    schedule = rounds(workers=3, sampled=3)
    for slot in (0, 1):
        schedule.dismiss(slot)
    assert schedule.missing == {2}
    schedule.admit(1, "w1")
    assert schedule.missing == {1, 2}


def test_a_resumed_round_is_of_the_same_workers_those_that_have_pushed_among_them():
    before = rounds(seed=3)
    for _ in range(4):
        close(before)
    drawn, present = set(before.called), set(before.waited_for)
    one = min(drawn)
    for pushed in (set(), {one}, drawn):
        again = Rounds(ScheduleSettings(6, sampled=2, seed=3))
        again.resume(4, present, set(range(6)), dict(before.newest), pushed)
        assert again.called == drawn
        for slot in pushed:
            assert push(again, slot) is Verdict.COUNTED
        assert again.missing == drawn - pushed


def test_those_who_missed_a_round_are_of_those_that_were_called():
    schedule = rounds()
    first, second = sorted(schedule.called)
    push(schedule, first)
    schedule.pass_deadline()
    schedule.pop_ready()
    schedule.close()
    schedule.commit()
    assert schedule.missed == {second}
    close(schedule)
    assert schedule.missed == set()


def test_at_the_end_of_the_run_all_are_expected_to_evaluate():
    schedule = rounds(rounds=1)
    close(schedule)
    assert schedule.phase is Phase.ENDED
    assert schedule.called == set(range(6))


def test_a_worker_that_pushed_at_another_slot_is_not_drawn_again():
    schedule = rounds(workers=2, sampled=2)
    push(schedule, 0)
    schedule.dismiss(0)
    schedule.admit(5, "w0")
    assert 5 not in schedule.missing
    push(schedule, 1)
    assert schedule.may_close


def test_a_round_closes_once_its_pushes_have_the_samples_that_suffice():
    schedule = rounds(workers=4, sampled=0, target=100)
    push(schedule, 3, samples=40)
    assert schedule.missing == {0, 1, 2}
    push(schedule, 1, samples=60)
    assert schedule.may_close
    schedule.admit(7, "late")
    assert schedule.may_close  # who joins now is waited for from the next round on
    assert schedule.pop_ready() == [1, 3]
    assert push(schedule, 0, samples=1) is Verdict.COUNTED  # it came in time all the same
    schedule.pop_ready()
    schedule.close()
    schedule.commit()
    assert schedule.missing == {0, 1, 2, 3, 7}
    for slot in (0, 1, 2, 3, 7):
        push(schedule, slot)
    assert schedule.may_close  # all have pushed: no more samples can come


def test_samples_that_suffice_do_not_lift_the_quorum():
    schedule = rounds(workers=4, sampled=0, target=100, quorum=2)
    push(schedule, 0, samples=500)
    assert schedule.missing == {1, 2, 3}
    push(schedule, 2)
    assert schedule.may_close


@pytest.mark.parametrize(
    ("text", "of_30", "written"),
    [("all", 30, "all"), ("10 %", 3, "10 %"), ("0.1", 3, "10 %"), (0.01, 1, "1 %"), (8, 8, "8"), ("50", 30, "50")],
)
def test_how_many_are_drawn_as_people_write_it(text, of_30, written):
    sampled = Sampled.parse(text)
    assert sampled.of(30) == of_30
    assert str(sampled) == written
    assert Sampled.parse(str(sampled)) == sampled


@pytest.mark.parametrize("text", ["0", "-1", "0 %", "101 %", "1.5", "some", "10 % more", "nan", "1e400", ""])
def test_what_is_no_number_of_workers_is_refused(text):
    with pytest.raises(ConfigError, match=r"want all, a share such as '10 %' or 0\.1, or a number of workers"):
        Sampled.parse(text)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sampled": "2", "mode": "asynchronous"}, "sampled: got '2' in the asynchronous mode"),
        ({"target_samples": 9, "mode": "asynchronous"}, "target_samples: got 9 in the asynchronous mode"),
        ({"sampled": "2", "quorum": 3, "workers": 8}, "quorum: got '3', want at most the 2 workers of a round"),
    ],
)
def test_what_does_not_go_together_is_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        ScheduleSettings.of(Config.load(None, given))


def test_a_quorum_in_percent_is_of_those_that_are_drawn():
    assert ScheduleSettings.of(Config.load(None, {"workers": 20, "sampled": "50 %", "quorum": "50 %"})).quorum == 5


def test_a_worker_that_asks_again_while_its_broken_call_still_waits_is_answered_at_once():
    async def play() -> None:
        schedule = rounds(rounds=3)
        called = Called(schedule)
        slot = max(schedule.waited_for - schedule.called)
        broken = asyncio.create_task(called.wait(slot, 0, 60.0))
        await asyncio.sleep(0)
        again = asyncio.create_task(called.wait(slot, 0, 60.0))
        await asyncio.sleep(0)
        broken.cancel()
        await asyncio.gather(broken, return_exceptions=True)
        for other in sorted(schedule.called):
            schedule.dismiss(other)
        while slot not in schedule.called:  # those who were drawn in their places go too
            schedule.dismiss(min(schedule.called))
        called.look()
        assert await asyncio.wait_for(again, 10.0) == 1
        assert await called.wait(slot, 1, 0.01) == 0  # the round after is not open yet
        waiting = asyncio.create_task(called.wait(slot, 1, 60.0))
        await asyncio.sleep(0)
        schedule.end("an admin ended it")
        called.look()
        with pytest.raises(RunEndedError, match="the run ended at version 0"):
            await asyncio.wait_for(waiting, 10.0)

    asyncio.run(play())
    with pytest.raises(UsageError, match="turn: every worker takes part in every round"):
        asyncio.run(Called(rounds(sampled=0)).wait(0, 0))
