"""`gradwire status` at every width and as JSON: all that a user asks for, whole, and why a worker is gone."""

import json
import math
from io import StringIO

import pytest
from rich.console import Console, Group

from cli.recorded import evaluation, record
from gradwire import RemoteOptimizer, SessionOptions
from gradwire.commands.status import run_table, status_figures, workers_view
from gradwire.local.monitor import Monitor
from gradwire_common.v1 import parameter_server_pb2 as pb
from running import eventually, running_server
from server.plain_worker import gradient_of, initial_weights, plain_workers, run_config
from worker.toys import batches, loss_of, perceptron, run_together, server_config, take_step

WORKERS = [
    pb.WorkerStatus(worker_id="amsterdam-gpu-0", slot=0, alive=True, last_round=40, bytes_up=3 << 20, rate_up=250_000),
    pb.WorkerStatus(worker_id="b", slot=1, last_round=12, gone="left: KeyboardInterrupt: ", limited_up=3.5),
    pb.WorkerStatus(worker_id="c", slot=2, alive=True, last_round=39, budget=1000, spent=990, refused=2),
]
REPLY = pb.StatusReply(
    run="run",
    phase="collecting",
    version=40,
    rounds=200,
    slots=3,
    parameters=40_000,
    workers=WORKERS,
    records=[record(n) for n in range(1, 41)],
    evaluations=[evaluation(40)],
    wait=pb.Wait(what="the pushes for round 41 of 1 of 2 workers: c (slot 2)", seconds=9),
)


def screen(reply, columns):
    console = Console(file=StringIO(), width=columns)
    console.print(Group(run_table(reply), workers_view(reply, console)))
    return console.file.getvalue()


@pytest.mark.parametrize("columns", [60, 80, 120, 1000])
def test_status_shows_everything_and_fits(columns):
    got = screen(REPLY, columns)
    assert max(map(len, got.splitlines())) <= columns
    folded = " ".join(got.split())
    for part in (
        "40 of 200",
        "81.85% (round 40)",
        "higher is better",
        "lower is better",
        "amsterdam-gpu-0",
        "left: KeyboardInterrupt:",
        "99.0% of",
        "3.00 MiB",
        "a worker, 82% of 2 Mbit/s",
        "about 0:08",
        "workers: c (slot 2), for 9 s",
    ):
        assert part in folded, part


@pytest.mark.parametrize("columns", [60, 80])
def test_ids_of_workers_are_whole_where_the_table_has_no_room(columns):
    long = pb.StatusReply(
        workers=[pb.WorkerStatus(worker_id=f"rack-{n}-of-the-second-floor-host-{n}", slot=n) for n in range(3)]
    )
    got = screen(long, columns)
    assert max(map(len, got.splitlines())) <= columns
    assert all(worker.worker_id in got for worker in long.workers)


def test_the_figures_are_json_with_nothing_left_out():
    got = json.loads(json.dumps(status_figures(REPLY), allow_nan=False))
    assert (got["round"], got["rounds"], got["phase"]) == (40, 200, "collecting")
    assert got["metrics"]["loss"] == {"last": 0.1, "round": 40, "lower_is_better": True}
    assert math.isclose(got["rate_up"], REPLY.records[-1].bytes_up / 2 / 0.05)
    assert [worker["gone"] for worker in got["workers"]] == ["", "left: KeyboardInterrupt: ", ""]
    assert status_figures(pb.StatusReply(run="new"))["train_loss"] is None


def test_a_worker_that_is_gone_says_why(tmp_path):
    with (
        running_server(run_config(tmp_path, workers=3, heartbeat=0.3)) as server,
        plain_workers(server.address, 3) as (a, b, c),
    ):
        for worker in (a, b, c):
            worker.join()
        a.push_weights(initial_weights())
        b.watch()
        b.receive()
        a.stub.Leave(pb.LeaveRequest(session=a.session, reason="KeyboardInterrupt: "))
        b.stream.cancel()

        def reasons():
            gone = {worker.worker_id: worker.gone for worker in c.status().workers if not worker.alive}
            return gone if len(gone) == 3 else None

        assert eventually(reasons) == {
            "a": "left: KeyboardInterrupt: ",
            "b": "its connection broke, and nothing was heard of it since",
            "c": "nothing was heard of it for 3 heartbeats of 0.3 s",
        }


def test_piped_status_is_complete_and_format_json_is_json(run, server):
    address = server("--workers", 2, "--name", "shown")
    piped = run("status", address)
    assert piped.code == 0
    assert "shown" in piped.out
    figures = json.loads(run("status", address, "--format", "json").out)
    assert (figures["run"], figures["workers"]) == ("shown", [])
    wrong = run("status", address, "--format", "yaml")
    assert (wrong.code, wrong.error) == (2, "error: format: got 'yaml', want table or json")


def test_a_run_ends_once_all_of_its_workers_have_finished(tmp_path):
    with (
        running_server(run_config(tmp_path, rounds=0, heartbeat=0.2)) as server,
        plain_workers(server.address, 2) as (a, b),
    ):
        for worker in (a, b):
            worker.begin()
        for worker in (a, b):
            worker.push(gradient_of(1), 1)
        for worker in (a, b):
            worker.receive()
            worker.stub.Leave(pb.LeaveRequest(session=worker.session, reason="done", finished=True))
        server.join()
    assert (tmp_path / "run" / "weights.safetensors").exists()


@pytest.mark.parametrize("finished", [[True], [True, False], [False, False]])
def test_a_run_goes_on_where_a_worker_may_come_back(tmp_path, finished):
    with running_server(run_config(tmp_path, rounds=0)) as server, plain_workers(server.address, 3) as workers:
        for worker, done in zip(workers, finished, strict=False):
            worker.begin()
            worker.stub.Leave(pb.LeaveRequest(session=worker.session, finished=done))
        again = workers[2]
        assert again.join().slot in (0, 1, 2)
        assert again.status().phase != "ended"


def test_samples_and_losses_of_each_client_are_told(tmp_path):
    with (
        running_server(server_config(tmp_path, workers=2, rounds=2)) as server,
        Monitor(server.address, 5.0) as monitor,
    ):
        seen = []

        def work(number: int) -> None:
            model = perceptron()
            with RemoteOptimizer(model, server.address, session=SessionOptions(slot=number)) as optimizer:
                for batch in batches(2):
                    loss = None if number else loss_of(model, batch)
                    take_step(model, optimizer, batch, samples=8 + number, loss=loss)
                seen.append(monitor.poll())

        run_together(lambda: work(0), lambda: work(1))
    first, second = status_figures(seen[-1])["workers"]
    assert (first["samples"], first["pushes"], second["samples"], second["pushes"]) == (16, 2, 18, 2)
    assert math.isclose(first["loss"], seen[-1].records[-1].loss, rel_tol=1e-6)
    assert second["loss"] is None
    columns = screen(seen[-1], 120)
    assert "samples" in columns
    assert f"{first['loss']:.4f}" in columns
