"""A server that comes back continues with the last committed version, bit for bit.

A kill is played by a copy of the run's folder, taken while the server runs: nothing that it would still write is there.
"""

import json
import logging
import shutil
from pathlib import Path

import pytest

from gradwire_common.errors import ConfigError, RunEndedError
from gradwire_common.methods.entropy import Entropy
from gradwire_common.settings.config import Config
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.limits.limits import Limits
from running import copy_as_killed, running_server
from server.plain_worker import PlainWorker, gradient_of, initial_weights, plain_workers, refused, run_config

ROUNDS = 6
KILLED_AFTER = 3


def config(runs: Path, **changes: object) -> Config:
    settings = {
        "rounds": ROUNDS,
        "optimizer": "Adam",
        "lr": 0.01,
        "schedule": "CosineAnnealingLR",
        "quantizer": "uniform",
        "evaluate_every": 0,
        "quorum": "all",
        "checkpoint_every": 2,
    }
    return run_config(runs, **{**settings, **changes})


def push(worker: PlainWorker, round_: int) -> pb.Receipt:
    gradient = gradient_of(100 * round_ + ord(worker.worker_id))
    return worker.send(worker.gradient_messages(gradient, round_, 4, Entropy()))


def play(workers: list[PlainWorker], first: int, last: int) -> None:
    for round_ in range(first, last + 1):
        for worker in workers:
            push(worker, round_)
        for worker in workers:
            worker.receive()


def interrupted(runs: Path, copy: Path, **changes: object) -> pb.Receipt:
    """Play all rounds at `runs`; leave at `copy` the disk after KILLED_AFTER versions and a push of the next round."""
    with running_server(config(runs, **changes)) as server, plain_workers(server.address, 2) as workers:
        for worker in workers:
            worker.begin(initial_weights())
        play(workers, 1, KILLED_AFTER)
        receipt = push(workers[0], KILLED_AFTER + 1)
        copy_as_killed(runs, copy)
        push(workers[1], KILLED_AFTER + 1)
        for worker in workers:
            worker.receive()
        play(workers, KILLED_AFTER + 2, ROUNDS)
        for worker in workers:
            worker.leave()
        server.join()
    return receipt


def resumed(copy: Path, receipt: pb.Receipt, **changes: object) -> None:
    """Go on at `copy` with workers that begin again."""
    again = config(copy, resume=True, **changes)
    with running_server(again) as server, plain_workers(server.address, 2) as back:
        for worker in back:
            assert worker.begin().joined.version == KILLED_AFTER
        repeated = push(back[0], KILLED_AFTER + 1)
        assert (repeated.verdict, repeated.digest) == (pb.VERDICT_DUPLICATE, receipt.digest)
        assert push(back[1], KILLED_AFTER + 1).verdict == pb.VERDICT_COUNTED
        for worker in back:
            worker.receive()
        play(back, KILLED_AFTER + 2, ROUNDS)
        for worker in back:
            worker.leave()
        server.join()


def weights(runs: Path) -> bytes:
    return (runs / "run" / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("checkpoint_every", [2, 100])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path, checkpoint_every: int) -> None:
    runs, copy = tmp_path / "runs", tmp_path / "copy"
    receipt = interrupted(runs, copy, checkpoint_every=checkpoint_every)
    resumed(copy, receipt, checkpoint_every=checkpoint_every)
    assert weights(copy) == weights(runs)
    lines = (copy / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == ROUNDS


def test_the_book_of_rounds_that_are_played_again_tells_of_their_updates(tmp_path: Path) -> None:
    runs, copy = tmp_path / "runs", tmp_path / "copy"
    receipt = interrupted(runs, copy, checkpoint_every=100)
    (copy / "run" / "metrics.jsonl").write_text("")  # as if none of them had been final
    resumed(copy, receipt, checkpoint_every=100)
    played, undisturbed = (
        [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
        for folder in (copy, runs)
    )
    assert [line["payload_down"] for line in played] == [line["payload_down"] for line in undisturbed]
    assert all(line["server_times"]["encode"] > 0 for line in played)


AUTO_DOWN = {"bits_down": "auto", "rate_down": "0.02 Mbit/s", "burst": "1 MiB"}


@pytest.mark.parametrize("checkpoint_every", [2, 100])
def test_updates_that_follow_budgets_are_made_again_with_the_same_bits(tmp_path: Path, checkpoint_every: int) -> None:
    runs, copy = tmp_path / "runs", tmp_path / "copy"
    changes = {**AUTO_DOWN, "checkpoint_every": checkpoint_every}
    receipt = interrupted(runs, copy, **changes)
    resumed(copy, receipt, **changes)
    assert weights(copy) == weights(runs)
    for line in map(json.loads, (copy / "run" / "metrics.jsonl").read_text().splitlines()):
        assert 0.5 * line["budget_down"] < line["payload_down"] <= line["budget_down"] < 2500


def test_an_update_without_a_rate_to_make_budgets_of_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="bits_down: got 'auto' without a rate_down"):
        Limits.of(config(tmp_path, bits_down="auto"))


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runs, copy = tmp_path / "runs", tmp_path / "copy"
    receipt = interrupted(runs, copy)
    newest = sorted((copy / "run" / "state").glob("*.safetensors"))[-1]
    damaged = bytearray(newest.read_bytes())
    damaged[-1] ^= 1
    newest.write_bytes(damaged)
    with caplog.at_level(logging.WARNING):
        resumed(copy, receipt)
    assert any("damaged checkpoint" in line and newest.name in line for line in caplog.messages)
    assert weights(copy) == weights(runs)


def test_a_record_that_was_being_written_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    runs, copy = tmp_path / "runs", tmp_path / "copy"
    receipt = interrupted(runs, copy)
    newest = sorted((copy / "run" / "state").glob("journal-*"))[-1]
    with newest.open("ab") as journal:
        journal.write(b"\x01 the beginning of a record")
    resumed(copy, receipt)
    assert weights(copy) == weights(runs)


def test_a_journal_that_was_being_begun_is_left_out_and_the_one_before_goes_on(tmp_path: Path) -> None:
    runs, copy, second = tmp_path / "runs", tmp_path / "copy", tmp_path / "second"
    receipt = interrupted(runs, copy, checkpoint_every=100)
    (copy / "run" / "state" / f"journal-{KILLED_AFTER:010d}").touch()
    with running_server(config(copy, resume=True, checkpoint_every=100)):
        shutil.copytree(copy, second)
    resumed(second, receipt, checkpoint_every=100)
    assert weights(second) == weights(runs)


def test_a_run_that_ended_says_so_when_it_is_resumed(tmp_path: Path) -> None:
    runs, copy = tmp_path / "runs", tmp_path / "copy"
    interrupted(runs, copy)
    with running_server(config(runs, resume=True)) as server, plain_workers(server.address, 1) as (a,):
        assert a.join().version == ROUNDS
        a.watch()
        assert a.receive().version == ROUNDS
        assert isinstance(a.receive(), pb.RunEnd)
        a.leave()


def test_a_finished_run_ends_again_once_as_many_workers_as_it_has_know_known_ones_and_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    interrupted(tmp_path / "runs", tmp_path / "copy")
    with caplog.at_level(logging.INFO), running_server(config(tmp_path / "runs", resume=True), grace=1000.0) as server:
        assert f"run 'run' is finished: all of its {ROUNDS} rounds are done" in caplog.text
        for _ in range(2):
            with refused(RunEndedError, f"the run ended at version {ROUNDS}"):
                PlainWorker(server.address, "another").join()
        with plain_workers(server.address, 1) as (a,):
            a.join()
            a.leave()
        server.join()


def test_a_run_is_not_resumed_with_other_settings(tmp_path: Path) -> None:
    runs, copy = tmp_path / "runs", tmp_path / "copy"
    interrupted(runs, copy)
    with (
        pytest.raises(ConfigError, match="workers: got 3, want 2"),
        running_server(config(copy, resume=True, workers=3)),
    ):
        pass


def test_a_run_that_begins_anew_moves_the_old_one_aside(tmp_path: Path) -> None:
    interrupted(tmp_path / "runs", tmp_path / "copy")
    with running_server(config(tmp_path / "copy")) as server, plain_workers(server.address, 1) as (a,):
        a.begin(initial_weights())
        assert a.version == 0
    assert list((tmp_path / "copy" / "run.1" / "state").glob("checkpoint-*.json"))
    assert (tmp_path / "copy" / "run.1" / "metrics.jsonl").read_text()


def test_resuming_nothing_begins(tmp_path: Path) -> None:
    with running_server(config(tmp_path, resume=True)) as server, plain_workers(server.address, 1) as (a,):
        assert a.join().weights_wanted


def test_a_round_that_was_open_when_the_run_was_stopped_is_collected_again(tmp_path: Path) -> None:
    with running_server(config(tmp_path)) as server, plain_workers(server.address, 2) as workers:
        for worker in workers:
            worker.begin(initial_weights())
        play(workers, 1, 1)
        assert push(workers[0], 2).verdict == pb.VERDICT_COUNTED
        server.stop()
        server.join()
    with running_server(config(tmp_path, resume=True)) as server, plain_workers(server.address, 2) as back:
        for worker in back:
            assert worker.begin().joined.version == 1
        play(back, 2, 2)
        assert [worker.version for worker in back] == [2, 2]
