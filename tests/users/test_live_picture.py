"""The live picture of `gradwire train`: rates beside limits, and what is waited for and of whom, at every width."""

from io import StringIO

import pytest
from rich.console import Console

from cli.recorded import history, record
from gradwire.views.display import picture
from gradwire_common.v1 import parameter_server_pb2 as pb


def screen(run, columns):
    console = Console(file=StringIO(), width=columns)
    console.print(picture(run))
    return console.file.getvalue()


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_rates_limits_and_the_wait_are_shown_and_fit(columns):
    run = history(rounds=40)
    workers = [pb.WorkerStatus(alive=True, rate_up=250_000), pb.WorkerStatus(alive=True, rate_up=500_000)]
    wait = pb.Wait(what="the pushes for round 41 of 1 of 2 workers: b (slot 1)", seconds=7)
    run.add(pb.StatusReply(rounds=200, phase="collecting", workers=workers, wait=wait, records=[record(41)]))
    got = screen(run, columns)
    assert max(map(len, got.splitlines())) <= columns
    folded = " ".join(got.split())
    for part in ("1.64 Mbit/s a worker, 82% of 2 Mbit/s", "1.648 Mbit/s a worker", "b (slot 1), for 7 s"):
        assert part in folded, part


def test_nothing_is_said_of_a_wait_that_is_over():
    run = history(rounds=3)
    run.add(pb.StatusReply(wait=pb.Wait(what="2 more workers", seconds=7)))
    assert "waiting for" in screen(run, 80)
    run.add(pb.StatusReply(records=[record(4)]))
    assert "waiting for" not in screen(run, 80)


def test_before_the_first_round_there_are_no_rates():
    assert "rate" not in screen(history(rounds=0), 80)
