import itertools

import pytest

from gradwire_common.errors import JoinError, SessionError
from gradwire_server.rounds.members import MAX_HEARTBEATS, Members


def members(slots: int = 2) -> Members:
    names = itertools.count()
    return Members(slots, heartbeat=2.0, new_session=lambda: f"session {next(names)}")


def test_slots_are_given_from_the_lowest() -> None:
    them = members()
    assert [them.join(name, None, 0.0).slot for name in "abc"] == [0, 1, 2]


def test_a_worker_may_ask_for_a_slot_that_nobody_holds() -> None:
    them = members()
    assert them.join("a", 1, 0.0).slot == 1
    assert them.join("b", None, 0.0).slot == 0
    with pytest.raises(JoinError, match="slot 1 is held by worker a; want another"):
        them.join("c", 1, 0.0)


def test_joining_again_takes_the_old_slot_and_ends_the_old_session() -> None:
    them = members()
    old, _, new = them.join("a", None, 0.0), them.join("b", None, 0.0), them.join("a", None, 1.0)
    assert new.slot == old.slot
    assert them.hear(new.session, 1.0) is new
    with pytest.raises(JoinError, match="session ended: worker a joined again"):
        them.hear(old.session, 1.0)


def test_a_worker_is_dead_after_three_heartbeats_of_silence() -> None:
    them = members()
    a, b = them.join("a", None, 0.0), them.join("b", None, 0.0)
    them.hear(b.session, 3.0)
    assert them.expire(6.0) == []
    assert them.expire(6.1) == [a]
    assert them.expire(6.2) == []
    assert them.alive == [b]


def test_a_broken_connection_shortens_the_wait_and_any_word_lengthens_it_again() -> None:
    them = members()
    a = them.join("a", None, 0.0)
    them.suspect(a, 0.0)
    assert them.expire(2.9) == []
    them.hear(a.session, 2.9)
    assert them.expire(8.0) == []
    them.suspect(a, 8.0)
    assert them.expire(9.0) == [a]


def test_heartbeats_are_further_apart_the_more_workers_there_are() -> None:
    them = members()
    assert them.interval == 2.0
    joined = [them.join(f"worker {i}", None, 0.0) for i in range(1000)]
    assert them.interval == 1000 / MAX_HEARTBEATS == 10.0
    first = joined[0]
    assert first.interval == 2.0  # it has not been told yet, and is expected as often as it knows
    assert them.tell_interval(first) == 10.0
    them.hear(first.session, 1.0)
    assert first not in them.expire(30.9)
    assert first in them.expire(31.1)


def test_a_broken_connection_is_noticed_as_soon_with_many_workers() -> None:
    them = members(slots=1000)
    a = them.join("a", None, 0.0)
    assert a.interval == 10.0
    them.suspect(a, 0.0)
    assert them.expire(3.1) == [a]


def test_a_dead_worker_that_speaks_is_alive() -> None:
    them = members()
    a = them.join("a", None, 0.0)
    assert them.expire(10.0) == [a]
    assert them.hear(a.session, 11.0).alive


def test_the_slot_of_the_dead_goes_to_a_new_worker_once_no_other_is_free() -> None:
    them = members()
    a, _ = them.join("a", None, 0.0), them.join("b", None, 5.0)
    them.expire(7.0)
    assert them.join("c", None, 7.0).slot == a.slot
    with pytest.raises(SessionError, match="slot 0 was taken by worker c"):
        them.hear(a.session, 8.0)
    assert them.join("a", None, 9.0).slot == 2


def test_a_worker_that_left_can_say_no_more() -> None:
    them = members()
    a = them.join("a", None, 0.0)
    them.leave(a)
    assert them.alive == []
    with pytest.raises(JoinError, match="session ended: worker a left"):
        them.hear(a.session, 1.0)


def test_an_unknown_session_is_told_to_join_again() -> None:
    with pytest.raises(SessionError, match="unknown to this server; joining again"):
        members().hear("never given", 0.0)
