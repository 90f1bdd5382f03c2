"""The short version of `make chaos`."""

import random
from pathlib import Path

import pytest

from end_to_end.chaos import disturbed_runs, schedule, seconds_lost_to_a_killed_worker
from end_to_end.processes import preload
from end_to_end.unordered import disturbed

RESTART_SECONDS = 3.0  # of the server's process, until it serves again
DEAD_SECONDS = 7.0  # that a killed worker may cost its round


@pytest.fixture(scope="module", autouse=True)
def _preloaded() -> None:
    preload()


def test_runs_end_with_the_same_bits_whatever_is_killed_cut_or_full(tmp_path: Path) -> None:
    counts = {"server": 5, "worker": 5, "link": 5, "half": 3, "delay": 1, "answer": 3, "pause": 1, "disk": 1}
    kinds = schedule(random.Random(1), **counts)
    outcomes = list(disturbed_runs(tmp_path, kinds, per_run=len(kinds), workers=2, seed=1))
    assert sum(outcome.disturbances.total() for outcome in outcomes) == len(kinds)
    restarts = sorted(seconds for outcome in outcomes for seconds in outcome.restarts)
    assert restarts[len(restarts) // 2] < RESTART_SECONDS


def test_runs_with_local_steps_end_with_the_same_bits_too(tmp_path: Path) -> None:
    kinds = schedule(random.Random(2), server=1, worker=4, link=1, half=1)
    local = {"local_steps": 3, "local_schedule": "OneCycleLR", "lr": 1.0, "optimizer_options": {}, "schedule": "none"}
    outcomes = list(disturbed_runs(tmp_path, kinds, per_run=len(kinds), workers=2, seed=2, **local))
    assert sum(outcome.disturbances.total() for outcome in outcomes) == len(kinds)


def test_delayed_runs_that_encode_during_backward_end_with_the_same_bits_too(tmp_path: Path) -> None:
    kinds = schedule(random.Random(3), server=1, worker=4, link=1, half=1)
    outcomes = list(
        disturbed_runs(tmp_path, kinds, per_run=len(kinds), workers=2, seed=3, overlap=True, delay=1, buffers_every=7)
    )
    assert sum(outcome.disturbances.total() for outcome in outcomes) == len(kinds)


def test_the_asynchronous_mode_keeps_its_promises_whatever_is_killed_or_cut(tmp_path: Path) -> None:
    kinds = schedule(random.Random(4), server=2, worker=1, half=1, answer=1)
    outcomes = list(disturbed(tmp_path, kinds, per_run=len(kinds), workers=2, seed=4))
    assert sum(outcome.disturbances.total() for outcome in outcomes) == len(kinds)


def test_a_killed_worker_that_the_quorum_can_do_without_costs_its_round_two_heartbeats(tmp_path: Path) -> None:
    assert seconds_lost_to_a_killed_worker(tmp_path / "run") < DEAD_SECONDS
