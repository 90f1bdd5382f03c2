"""Ctrl-C never hangs a worker: every interrupt raises, wherever it lands, and the next step counts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).with_name("interrupted.py")
STEPS = {"plain": 8, "overlap": 5, "delay": 5, "asynchronous": 5, "own_checkpoint": 5, "local_steps": 3}
OTHERS = {"constructor": 10, "waiting_for_others": 4, "unreachable": 2, "others_handlers": 1}


def said_by(interrupts: dict[str, int], seconds: float) -> str:
    """Run programs of interrupted.py, each with so many interrupts, in a process that is killed where it hangs."""
    arguments = [f"{program}={n}" for program, n in interrupts.items()]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "error", PROGRAMS, *arguments]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as hung:
        return f"{(hung.stdout or b'').decode()}hung: {(hung.stderr or b'').decode()[-4000:]}"
    return done.stdout + done.stderr[-4000:]


@pytest.fixture(scope="module")
def said() -> str:
    return said_by(STEPS | OTHERS, 120.0)


@pytest.mark.parametrize("program", STEPS)
def test_a_step_after_every_interrupt_counts_and_no_gradient_is_lost_or_doubled(said, program):
    assert f"{program} done" in said, said


def test_a_constructor_that_was_interrupted_is_followed_by_one_that_joins(said):
    assert "constructor done" in said, said


@pytest.mark.parametrize("program", ["waiting_for_others", "unreachable"])
def test_what_waits_for_others_is_interrupted_within_a_second_and_resumes_later(said, program):
    assert f"{program} done" in said, said


def test_other_handlers_of_signals_have_their_effect_during_a_wait(said):
    assert "others_handlers done" in said, said


@pytest.mark.long
@pytest.mark.timeout(1000)
def test_five_hundred_interrupts_hang_nothing():
    interrupts = {
        "plain": 200,
        "constructor": 100,
        "overlap": 60,
        "delay": 60,
        "asynchronous": 40,
        "own_checkpoint": 40,
    }
    said = said_by(interrupts | {"local_steps": 40}, 900.0)
    assert "local_steps done" in said, said
