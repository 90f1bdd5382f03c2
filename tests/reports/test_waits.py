"""Every wait of over some seconds says for whom and since when, on both ends."""

import io
import logging
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch

from gradwire.commands.status import show_status
from gradwire_server.rounds import waits
from gradwire_server.rounds.members import Members
from gradwire_server.rounds.schedule_settings import ScheduleSettings
from gradwire_server.rounds.synchronous import Rounds
from gradwire_server.rounds.waits import Waits, awaited
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.session import SessionOptions, notice
from gradwire_worker.session.notice import Notice
from running import eventually, running_server
from worker.toys import batches, loss_of, perceptron, run_together, server_config


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notice, "FIRST_NOTICE", 0.5)
    monkeypatch.setattr(waits, "FIRST_NOTICE", 0.5)


def backward(model: torch.nn.Module) -> None:
    loss_of(model, batches(1)[0]).backward()


def status(address: str) -> str:
    said = io.StringIO()
    with redirect_stdout(said):
        show_status(address)
    return " ".join(said.getvalue().split())


def test_a_worker_that_does_not_push_is_named_on_both_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model, other = perceptron(), perceptron()
    with (
        caplog.at_level(logging.INFO),
        running_server(server_config(tmp_path, workers=2, heartbeat=0.2)) as server,
        RemoteOptimizer(model, server.address, session=SessionOptions(worker_id="quick")) as optimizer,
        RemoteOptimizer(other, server.address, session=SessionOptions(worker_id="slow")) as second,
    ):
        backward(model)
        late = "the pushes for round 1 of 1 of 2 workers: slow (slot 1)"

        def look() -> None:
            eventually(lambda: f"waiting for {late}, for" in caplog.text)
            want = f"waiting for version 1 of server {server.address}; the server waits for {late}, for"
            eventually(lambda: want in caplog.text)
            assert f"waiting for {late}, for" in status(server.address)
            backward(other)
            second.step()

        run_together(optimizer.step, look)
        assert "waiting for" not in status(server.address)


def test_workers_that_have_not_joined_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model, other = perceptron(), perceptron()
    with (
        caplog.at_level(logging.INFO),
        running_server(server_config(tmp_path, workers=2, heartbeat=0.2)) as server,
        RemoteOptimizer(model, server.address) as optimizer,
    ):
        backward(model)

        def join() -> None:
            eventually(lambda: "the server waits for 1 of 2 workers to join" in caplog.text)
            assert "waiting for 1 of 2 workers to join, for" in status(server.address)
            with RemoteOptimizer(other, server.address) as second:
                backward(other)
                second.step()

        run_together(optimizer.step, join)


def test_a_server_that_does_not_take_a_push_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = torch.nn.Linear(100, 400)
    with (
        running_server(server_config(tmp_path, rate_up="1 Mbit/s", burst="64 KiB")) as server,
        RemoteOptimizer(model, server.address) as optimizer,
    ):
        model(torch.ones(1, 100)).sum().backward()
        optimizer.step()
        assert "waiting for the receipt of the push for round 1, for" in caplog.text


def test_a_long_wait_is_told_at_growing_distances(caplog: pytest.LogCaptureFixture) -> None:
    now, told = [0.0], []
    wait = Notice(lambda: "somebody", clock=lambda: now[0])
    for tenths in range(200):
        now[0] = tenths / 10
        caplog.clear()
        wait.look()
        told += [now[0]] * len(caplog.messages)
    assert told == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0]


def test_what_a_run_waits_for() -> None:
    members, rounds = Members(3, 1.0, iter("abcdef").__next__), Rounds(ScheduleSettings(3, quorum=3))
    assert awaited(members, rounds) == "3 of 3 workers to join"
    first = members.join("w0", None, 0.0)
    assert awaited(members, rounds) == "the initial weights of one of w0 (slot 0)"
    rounds.begin()
    rounds.admit(0)
    assert awaited(members, rounds) == "2 of 3 workers to join"
    for slot in (1, 2):
        members.join(f"w{slot}", None, 0.0)
        rounds.admit(slot)
    assert awaited(members, rounds) == ""  # nobody has pushed, so nobody waits for another
    rounds.count(1, "w1", 1)
    assert awaited(members, rounds) == "the pushes for round 1 of 2 of 3 workers: w0 (slot 0), w2 (slot 2)"
    rounds.count(2, "w2", 1)
    seen = Waits(members, rounds)
    seen.look(10.0)
    seen.look(17.0)
    assert (seen.what, seen.seconds(18.0)) == ("the pushes for round 1 of 1 of 3 workers: w0 (slot 0)", 8.0)
    members.expire(100.0)
    rounds.dismiss(first.slot, dead=True)
    assert awaited(members, rounds) == ("1 more pushes for round 1, of which 3 make a quorum; gone: w0 (slot 0)")
