"""Ctrl-C never hangs a worker: every interrupt raises, wherever it lands, and the next step counts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).with_name("interrupted.py")


def run(seconds: float, **interrupts: int) -> None:
    """Run programs of interrupted.py, each with so many interrupts, in a process that is killed where it hangs."""
    arguments = [f"{program}={n}" for program, n in interrupts.items()]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", PROGRAMS, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    said = done.stdout + done.stderr[-4000:]
    assert done.returncode == 0, said
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(interrupts), said


def test_a_step_after_every_interrupt_counts_and_no_gradient_is_lost_or_doubled():
    run(60.0, plain=8, overlap=5, delay=5, asynchronous=5, own_checkpoint=5, local_steps=3)


def test_a_constructor_that_was_interrupted_is_followed_by_one_that_joins():
    run(60.0, constructor=10)


def test_what_waits_for_others_is_interrupted_within_a_second_and_goes_on_later():
    run(60.0, waiting_for_others=4, unreachable=2)


def test_other_handlers_of_signals_have_their_effect_during_a_wait():
    run(60.0, others_handlers=1)


@pytest.mark.long
def test_five_hundred_interrupts_hang_nothing():
    run(900.0, plain=200, constructor=100, overlap=60, delay=60, asynchronous=40, own_checkpoint=40, local_steps=40)
