from io import StringIO

import pytest
from rich.console import Console

from cli.recorded import history
from gradwire.views.display import LineDisplay, LiveDisplay, line, open_display, picture
from gradwire.views.history import History


def drawn(renderable, width=100):
    console = Console(file=StringIO(), width=width)
    console.print(renderable)
    return console.file.getvalue()


@pytest.fixture
def file():
    return StringIO()


def test_the_picture_shows_all_that_a_user_asks_for():
    got = drawn(picture(history(rounds=120)))
    for part in (
        "round 120/200",
        "test accuracy  97.34% (round 120)",
        "test loss  0.1000 (round 120)",
        "2.05 bits/entry",
        "15.6x smaller than float32",
        "50 ms a round: compute 50%  encode 25%  send 5%  wait 20%",
        "0:04 left",
    ):
        assert part in got


def test_the_picture_keeps_to_the_width_of_the_terminal():
    assert max(map(len, drawn(picture(history()), width=80).splitlines())) <= 80


def test_before_the_first_round_the_phase_is_shown():
    waiting = History("2 bits", total=200, phase="waiting for workers")
    assert "waiting for workers" in drawn(picture(waiting))
    assert line(waiting) == "2 bits: waiting for workers"


def test_a_run_without_end_has_no_time_left():
    assert "left" not in line(history(total=0))
    assert "round 120" in drawn(picture(history(total=0)))


def test_a_line_says_as_much_as_the_picture():
    assert line(history(rounds=120)) == (
        "2 bits: round 120/200  train loss 0.0492  test accuracy 97.34%, loss 0.1000 (round 120)  "
        "up 2.05 bits/entry (15.6x)  down 2.06 bits/entry (15.5x)  "
        "50 ms a round: compute 50%  encode 25%  send 5%  wait 20%  0:04 left"
    )


def test_lines_wait_for_ten_rounds_and_a_second_and_the_last_round_for_nothing(file):
    now = 0.0
    display = LineDisplay(Console(file=file, width=200), clock=lambda: now)
    for now, rounds, lines in [  # noqa: B007 - the clock reads now
        (0.0, 0, 1),  # the phase, at once
        (0.5, 20, 1),  # too soon
        (1.0, 20, 2),
        (1.5, 40, 2),
        (9.0, 29, 2),  # too few rounds
        (9.0, 30, 3),
        (9.1, 200, 4),  # the last one
        (9.2, 200, 4),
    ]:
        display.show(history(rounds=rounds))
        assert len(file.getvalue().splitlines()) == lines


def test_a_terminal_gets_the_picture_and_a_file_gets_lines(file):
    assert isinstance(open_display(Console(file=file, force_terminal=True)), LiveDisplay)
    assert isinstance(open_display(Console(file=file)), LineDisplay)


def test_the_live_display_leaves_its_last_picture(file):
    with open_display(Console(file=file, force_terminal=True, width=100)) as display:
        display.show(history(rounds=10))
        display.show(history(rounds=200))
    assert "200/200" in file.getvalue()


def test_budgets_are_shown_with_what_of_them_was_spent():
    run = history(rounds=3)
    assert "budget" not in line(run)
    newest = run.rounds[-1]
    newest.budget, newest.spent, newest.budget_down, newest.payload_down = 4096, 4000, 2048, 2000
    assert "budget up 3.91 KiB / 4.00 KiB (97.7%), down 1.95 KiB / 2.00 KiB (97.7%)" in line(run)
