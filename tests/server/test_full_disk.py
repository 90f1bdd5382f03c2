"""A disk that is full loses nothing: what cannot be written is refused or waits, and what is there stays whole.

The disk is played by a limit on the length of files, which fails a write as a full disk does: in part, then wholly.
"""

import logging
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gradwire_common.errors import UnavailableError
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.outcome.step import Step
from gradwire_server.store.checkpoint import checkpoint_versions, load_checkpoint
from gradwire_server.store.lines import LineFile
from running import copy_as_killed, eventually, running_server
from server.plain_worker import PlainWorker, gradient_of, initial_weights, plain_workers, refused, run_config
from server.test_resume import config as resumable
from server.test_resume import play, weights

CHECKPOINT_BYTES = 30_000  # less than a checkpoint of the model takes, and more than a few of its pushes
SECONDS = 30.0  # most time that the server takes to do something by itself


@contextmanager
def full_disk(n_bytes: int = 0) -> Iterator[None]:
    """Let no file of this process grow beyond `n_bytes` while the body runs."""
    assert signal.getsignal(signal.SIGXFSZ) is signal.SIG_IGN
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_lines_wait_for_room_and_none_is_lost_or_torn(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = LineFile(tmp_path / "lines")
    lines.add("first")
    with full_disk(10):
        lines.add("second")
        lines.add("third")
        assert (tmp_path / "lines").read_text().startswith("first\n")
    lines.add("fourth")
    lines.close()
    assert (tmp_path / "lines").read_text().split() == ["first", "second", "third", "fourth"]
    assert caplog.text.count("cannot be written") == 1


@pytest.mark.parametrize("room", [0, 40_000])
def test_a_push_that_cannot_be_written_is_refused_as_transient_and_counts_later(tmp_path: Path, room: int) -> None:
    """Its record takes some 27,000 bytes, after the 16 of the segment's beginning and others' pushes."""
    with running_server(run_config(tmp_path)) as server, plain_workers(server.address, 2) as (a, b):
        for worker in (a, b):
            worker.begin()
        a.push(gradient_of(0), 1)
        with full_disk(room), refused(UnavailableError, "the server cannot write its journal: .*File too large"):
            b.push(gradient_of(1), 1)
        assert a.status().version == 0
        assert b.push(gradient_of(1), 1).verdict == pb.VERDICT_COUNTED
        assert a.receive().version == 1
    with running_server(run_config(tmp_path, resume=True)) as server, plain_workers(server.address, 1) as (a,):
        assert a.status().version == 1


def test_a_checkpoint_that_cannot_be_written_is_a_warning_and_the_run_can_be_resumed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runs, copy = tmp_path / "runs", tmp_path / "copy"
    state = runs / "run" / "state"
    with running_server(resumable(runs, checkpoint_every=1)) as server, plain_workers(server.address, 2) as workers:
        for worker in workers:
            worker.begin(initial_weights())
        play(workers, 1, 1)
        eventually(lambda: 1 in checkpoint_versions(state), SECONDS)
        with full_disk(CHECKPOINT_BYTES), caplog.at_level(logging.WARNING):
            play(workers, 2, 3)
            eventually(lambda: "no checkpoint of version" in caplog.text, SECONDS)
            eventually(lambda: not list(state.glob("*.partial")), SECONDS)  # the one of version 3 may be under way
            assert checkpoint_versions(state)[-1] == 1
            assert load_checkpoint(state, 1).version == 1
        copy_as_killed(runs, copy)
        play(workers, 4, 6)
        for worker in workers:
            worker.leave()
        server.join()
    with running_server(resumable(copy, resume=True)) as server, plain_workers(server.address, 2) as workers:
        for worker in workers:
            assert worker.begin().joined.version == 3
        play(workers, 4, 6)
        for worker in workers:
            worker.leave()
        server.join()
    assert weights(copy) == weights(runs)


def test_a_round_that_cannot_be_written_is_not_published_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        closing_on_a_full_disk(monkeypatch) as emptied,
        running_server(run_config(tmp_path)) as server,
        plain_workers(server.address, 2) as (a, b),
    ):
        push_both(a, b)
        eventually(lambda: "round 1 waits for the disk" in caplog.text, SECONDS)
        assert a.status().version == 0
        emptied()
        assert a.receive().version == 1


def test_a_server_that_is_stopped_does_not_wait_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with closing_on_a_full_disk(monkeypatch), running_server(run_config(tmp_path)) as server:
        with plain_workers(server.address, 2) as (a, b):
            push_both(a, b)
            eventually(lambda: "round 1 waits for the disk" in caplog.text, SECONDS)
        server.stop()
        with pytest.raises(UnavailableError, match="the server cannot write its journal"):
            server.join()
    with running_server(run_config(tmp_path, resume=True)) as server, plain_workers(server.address, 1) as (a,):
        eventually(lambda: a.status().version == 1, SECONDS)


def test_a_server_that_cannot_write_says_so_when_it_starts(tmp_path: Path) -> None:
    with (
        full_disk(),
        pytest.raises(UnavailableError, match=r"the server cannot write to .*run: .*File too large; want room"),
        running_server(run_config(tmp_path)),
    ):
        pass


def test_weights_that_could_not_be_written_are_written_by_a_server_that_resumes(tmp_path: Path) -> None:
    with running_server(run_config(tmp_path, rounds=1)) as server, plain_workers(server.address, 2) as (a, b):
        push_both(a, b)
        assert a.receive().version == 1
        with full_disk():
            a.leave()
            b.leave()
            with pytest.raises(UnavailableError, match=r"the server cannot write to .*run: "):
                server.join()
    file = tmp_path / "run" / "weights.safetensors"
    assert not file.exists()
    with running_server(run_config(tmp_path, rounds=1, resume=True, heartbeat=0.1)) as server:
        server.join()
    assert file.exists()


@contextmanager
def closing_on_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Let the disk be full from the moment that the first round is summed; yield what empties it."""
    step, before = Step.step, resource.getrlimit(resource.RLIMIT_FSIZE)

    def emptied() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    def step_on_a_full_disk(self: Step, *arguments: Any) -> object:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        return step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Step, "step", step_on_a_full_disk)
        try:
            yield emptied
        finally:
            emptied()


def push_both(a: PlainWorker, b: PlainWorker) -> None:
    for worker in (a, b):
        worker.begin()
    for worker in (a, b):
        worker.push(gradient_of(0), 1)
