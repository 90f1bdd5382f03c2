"""Workers that live and push nothing: rounds wait for them a while, and then no longer, until they push."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gradwire.commands.status import workers_table
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.rounds.attendance import Attendance, Silence
from gradwire_server.rounds.schedule_settings import ScheduleSettings
from gradwire_server.rounds.synchronous import Rounds
from running import eventually
from safety.beside import beside_two, expected_weights, follow, gradient_for, make_round
from server.plain_worker import beating

SOON = {"heartbeat": 1.0, "silent_after": "1 s"}


@pytest.mark.parametrize("claims_to_hold_it", [False, True])
def test_a_worker_that_lives_and_never_pushes_stops_the_others_once(tmp_path: Path, claims_to_hold_it: bool) -> None:
    with beside_two(tmp_path, **SOON) as (_, (a, b), (silent,)):
        make_round(1, a, b)
        follow(a, 1)
        silent.join()
        silent.watch(1 if claims_to_hold_it else None)
        with beating(silent), beating(a), beating(b):
            for round_ in (2, 3, 4):
                make_round(round_, a, b)
            follow(a, 4)
            status = {each.worker_id: each for each in a.status().workers}
        assert_allclose(a.flat, expected_weights(a, 4), atol=1e-6)
        assert (status["c"].alive, status["c"].left_out) == (True, True)
        assert not status["a"].left_out
        cells = list(workers_table(pb.StatusReply(workers=[status["c"]])).columns[2].cells)
        assert cells == ["alive, not waited for: it sends no pushes"]


def test_a_worker_that_pushes_again_is_waited_for_again(tmp_path: Path) -> None:
    with beside_two(tmp_path, **SOON) as (_, (a, b), (slow,)), beating(a), beating(b):
        slow.begin()
        with beating(slow):
            make_round(1, a, b)
            make_round(2, a, b)
            assert slow.push(gradient_for(slow, 1), 1).verdict == pb.VERDICT_LATE
            follow(slow, 2)
            assert slow.push(gradient_for(slow, 3), 3).verdict == pb.VERDICT_COUNTED
            make_round(3, a, b)
            make_round(4, a, b)
            assert "c (slot 2)" in eventually(lambda: a.status().wait.what)
            assert not any(each.left_out for each in a.status().workers)


def test_a_worker_that_misses_rounds_at_their_deadline_is_not_waited_for_after_a_few(tmp_path: Path) -> None:
    with beside_two(tmp_path, deadline="300 ms", missed_rounds=2, quorum=2) as (_, (a, b), (silent,)):
        silent.begin()
        for round_ in (1, 2, 3, 4):
            make_round(round_, a, b)
        follow(a, 4)
        status = {each.worker_id: each for each in a.status().workers}
        assert (status["c"].left_out, status["c"].missed_rounds) == (True, 2)
        assert_allclose(a.flat, expected_weights(a, 4), atol=1e-6)


def test_nobody_is_silent_while_fewer_than_half_have_pushed() -> None:
    silence, rounds = Silence(10.0), collecting(5)
    assert silence.look(rounds, 0.0, 0.0) == set()
    rounds.count(0, "0", 1)
    rounds.count(1, "1", 1)
    for now in (1.0, 1000.0):
        assert silence.look(rounds, now, 0.0) == set()
    rounds.count(2, "2", 1)
    assert silence.look(rounds, 1001.0, 0.0) == set()
    assert silence.look(rounds, 1001.0 + 3 * 1000.0, 0.0) == set()  # the others were slow too
    assert silence.look(rounds, 1002.0 + 3 * 1001.0, 5.0) == set()  # or their link is
    assert silence.look(rounds, 1008.0 + 3 * 1001.0, 5.0) == {3, 4}


def test_every_round_has_its_own_wait() -> None:
    silence, rounds = Silence(10.0), collecting(2)
    for version in range(3):
        rounds.count(0, "0", version + 1)
        for second in range(8):
            assert silence.look(rounds, 100.0 * version + second, 0.0) == set()
        rounds.count(1, "1", version + 1)
        rounds.pop_ready()
        rounds.close()
        rounds.commit()


def test_a_worker_that_is_left_out_gets_another_chance_each_time_later() -> None:
    """It pushes, but too late: rounds may wait for it again after 6, 12, 24 rounds and so on."""
    attendance, chances = Attendance(), []
    for round_ in range(1, 100):
        attendance.miss()
        if attendance.missed >= 3 and not attendance.left_out:
            attendance.leave_out(round_, 3)
        was = attendance.left_out
        attendance.came_late(round_)
        if was and not attendance.left_out:
            chances.append(round_)
    assert np.all(np.diff(np.diff(chances)) > 0), chances
    assert len(chances) <= 5
    attendance.took_part()
    assert not attendance.left_out
    assert attendance.missed == 0


def test_a_silent_worker_is_waited_for_where_a_quorum_cannot_be_had_without_it() -> None:
    rounds = collecting(3, quorum=3)
    rounds.count(1, "1", 1)
    rounds.count(2, "2", 1)
    rounds.dismiss(0, dead=True)
    assert not rounds.may_close
    assert not rounds.has_ready  # and its push is summed first
    rounds.count(0, "0", 1)
    assert rounds.pop_ready() == [0, 1, 2]


def collecting(n: int, quorum: int = 1) -> Rounds:
    rounds = Rounds(ScheduleSettings(n, 0, quorum))
    rounds.begin()
    for slot in range(n):
        rounds.admit(slot)
    return rounds
