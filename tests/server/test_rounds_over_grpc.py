"""Rounds continue, no matter which worker dies, leaves or is busy."""

import json
from pathlib import Path
from typing import Any

import pytest

from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.outcome.step import Step
from running import HALT_SECONDS, Halt, running_server
from server.plain_worker import beating, gradient_of, plain_workers, run_config


def test_a_worker_that_leaves_is_not_waited_for(tmp_path: Path) -> None:
    with running_server(run_config(tmp_path)) as server, plain_workers(server.address, 2) as (a, b):
        a.begin()
        b.begin()
        a.push(gradient_of(0), 1)
        b.leave()
        assert a.receive().version == 1
        a.push(gradient_of(1), 2)
        assert a.receive().version == 2


def test_a_worker_that_falls_silent_is_dead_after_three_heartbeats(tmp_path: Path) -> None:
    """Its stream is still open: it hangs."""
    with running_server(run_config(tmp_path, heartbeat=1.5)) as server, plain_workers(server.address, 2) as (a, b):
        a.begin()
        b.begin()
        a.push(gradient_of(0), 1)
        with beating(a):
            assert a.receive().version == 1
            assert [worker.alive for worker in a.status().workers] == [True, False]
            b.heartbeat()  # it was only slow: from now on it is waited for again
            assert b.receive().version == 1
            with beating(b):
                a.push(gradient_of(1), 2)
                b.push(gradient_of(2), 2)
                assert a.receive().version == 2


def test_heartbeats_are_answered_while_the_server_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stepping = Halt()
    step = Step.step

    def slow_step(self: Step, *arguments: Any) -> object:
        stepping.halt()
        return step(self, *arguments)

    monkeypatch.setattr(Step, "step", slow_step)
    with running_server(run_config(tmp_path, workers=1)) as server, plain_workers(server.address, 1) as (a,):
        a.begin()
        a.push(gradient_of(0), 1)
        assert stepping.reached.wait(HALT_SECONDS)
        assert a.heartbeat().version == 0
        assert a.status().phase == "closing"
        stepping.go_on.set()
        assert a.receive().version == 1


def test_a_restarted_worker_takes_its_old_place_and_its_push_counts_once(tmp_path: Path) -> None:
    with running_server(run_config(tmp_path)) as server, plain_workers(server.address, 2) as (a, b):
        a.begin()
        b.begin()
        b.push(gradient_of(1), 1)
        with plain_workers(server.address, 2) as (_, again):
            assert again.join().slot == 1
            again.watch()
            assert again.receive().kind == pb.UPDATE_KIND_SNAPSHOT
            assert again.push(gradient_of(9), 1).verdict == pb.VERDICT_DUPLICATE
            a.push(gradient_of(0), 1)
            assert again.receive().version == 1


def test_status_describes_the_run_before_and_while_it_goes_on(tmp_path: Path) -> None:
    with running_server(run_config(tmp_path)) as server, plain_workers(server.address, 2) as (a, b):
        assert a.status().phase == "waiting for weights"
        a.begin()
        assert a.status().phase == "waiting for workers"
        b.begin()
        assert a.status().phase == "collecting"
        a.push(gradient_of(0), 1, samples=3)
        got = a.status()
        assert (got.run, got.version, got.rounds, got.slots, got.parameters) == ("run", 0, 3, 2, a.layout.n_parameters)
        assert [(worker.worker_id, worker.slot, worker.last_round) for worker in got.workers] == [
            ("a", 0, 1),
            ("b", 1, 0),
        ]
        assert got.workers[0].bytes_up > 3 * a.layout.n_parameters
        assert got.bytes_setup > 3 * 3 * a.layout.size


def test_an_evaluation_is_complete_when_all_who_live_have_reported(tmp_path: Path) -> None:
    with running_server(run_config(tmp_path, evaluate_every=1)) as server, plain_workers(server.address, 2) as (a, b):
        a.begin()
        b.begin()
        a.push(gradient_of(0), 1)
        b.push(gradient_of(1), 1)
        for worker in (a, b):
            worker.receive()
        loss = pb.Metric(name="loss", sum=2, count=8, lower_is_better=True)
        metrics = [pb.Metric(name="accuracy", sum=1, count=4), loss]
        report = pb.EvaluationReport(session=a.session, version=1, metrics=metrics)
        a.stub.Report(report)
        a.stub.Report(report)  # again: changes nothing
        assert not a.status().evaluations
        b.leave()
        (evaluation,) = a.status().evaluations
        assert (evaluation.version, list(evaluation.metrics)) == (1, metrics)


@pytest.mark.parametrize("mode", ["synchronous", "asynchronous"])
def test_the_records_tell_the_bytes_of_frames_that_were_pushed(tmp_path: Path, mode: str) -> None:
    config = run_config(tmp_path, workers=1, rounds=2, mode=mode)
    with running_server(config) as server, plain_workers(server.address, 1) as (a,):
        a.begin()
        lengths = []
        for round_ in (1, 2):
            lengths.append(a.push(gradient_of(round_), round_).length)
            assert a.receive().version == round_
        a.leave()
        server.join()
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [record["payload_up"] for record in records if "payload_up" in record] == lengths
