"""No process of a local cluster outlives it, and none that fails makes it hang."""

import os
import select
import signal
from pathlib import Path

import pytest

SECONDS = 60.0  # for the kernel and Python to end a process; far more than it takes
ENDLESS = ("train", "--rounds", 0, "--workers", 1, "--parameters", 1000, "--task", "synthetic")


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command_of(pid):
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[4]


def ends(pid):
    """Wait until a process, anybody's child, has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], SECONDS)[0])
    finally:
        os.close(handle)


@pytest.fixture
def training(start):
    running = start(*ENDLESS)
    running.wait_for(r"round \d+")
    return running


def test_a_killed_parent_takes_its_children_with_it(training):
    started = children(training.process.pid)
    assert sorted(map(command_of, started)) == ["server", "worker"]
    training.process.kill()
    assert all(map(ends, started))


def test_a_worker_that_dies_ends_the_run_with_one_line(training):
    started = children(training.process.pid)
    (worker,) = [pid for pid in started if command_of(pid) == "worker"]
    os.kill(worker, signal.SIGKILL)
    assert training.wait() == 1
    assert training.said.splitlines()[-1] == "error: worker-0 was killed by SIGKILL (log: runs/run/worker-0.log)"
    assert all(map(ends, started))


def test_a_server_that_dies_ends_the_run_with_one_line(training):
    started = children(training.process.pid)
    (server,) = [pid for pid in started if command_of(pid) == "server"]
    os.kill(server, signal.SIGKILL)
    assert training.wait() == 1
    assert training.said.splitlines()[-1] == "error: server was killed by SIGKILL (log: runs/run/server.log)"
    assert all(map(ends, started))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_its_weights(training, tmp_path, number):
    started = children(training.process.pid)
    training.process.send_signal(number)
    assert training.wait() == 130
    *_, stopped, last = training.said.splitlines()
    assert last == "error: interrupted"
    assert "what there is is in runs/run" in stopped
    assert "Traceback" not in training.said
    assert (tmp_path / "runs" / "run" / "weights.safetensors").exists()
    assert all(map(ends, started))
