"""The asynchronous mode at a real server: pushes are applied as they come, survive a kill, and are never too stale.

A kill is played by a copy of the run's folder, taken while the server runs: nothing that it would still write is there.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from gradwire_common.errors import ConfigError, UsageError
from gradwire_common.methods.entropy import Entropy
from gradwire_common.settings.config import Config
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.aggregation.rule import Mean
from gradwire_server.outcome.outcome import ClosedRound
from gradwire_server.outcome.step import Step
from gradwire_server.rounds.schedule_settings import ScheduleSettings
from gradwire_server.store.state import Store
from running import HALT_SECONDS, Halt, RunningServer, copy_as_killed, eventually, running_server
from server.plain_worker import PlainWorker, gradient_of, initial_weights, plain_workers, refused, run_config

LR = 0.1


def config(runs: Path, **changes: object) -> Config:
    return run_config(
        runs, **{"mode": "asynchronous", "staleness": 2, "rounds": 6, "evaluate_every": 0, "lr": LR, **changes}
    )


def follow(worker: PlainWorker, version: int) -> None:
    while worker.version < version:
        worker.receive()


def expected_weights(worker: PlainWorker, seeds: list[int]) -> np.ndarray:
    """Apply one gradient after the other, each alone, as plain SGD does."""
    n, weights = worker.layout.n_parameters, initial_weights()
    for seed in seeds:
        weights[:n] -= np.float32(LR) * gradient_of(seed)
    return weights[:n]


def test_a_fast_worker_goes_on_and_a_slow_one_counts_as_long_as_it_is_not_too_stale(tmp_path: Path) -> None:
    with running_server(config(tmp_path)) as server, plain_workers(server.address, 2) as (fast, slow):
        for worker in (fast, slow):
            worker.begin(initial_weights())
        for round_ in (1, 2):
            receipt = fast.push(gradient_of(round_), round_, samples=7)
            assert (receipt.verdict, receipt.version) == (pb.VERDICT_COUNTED, round_)
            follow(fast, round_)
        got = slow.push(gradient_of(10), 1, samples=3)  # two versions behind
        assert (got.verdict, got.version) == (pb.VERDICT_COUNTED, 3)
        again = slow.push(gradient_of(10), 1, samples=3)
        assert (again.verdict, again.version, again.digest) == (pb.VERDICT_DUPLICATE, 3, got.digest)
        follow(fast, 3)
        np.testing.assert_allclose(fast.flat[: fast.layout.n_parameters], expected_weights(fast, [1, 2, 10]), atol=1e-6)
        for round_ in (4, 5):
            fast.push(gradient_of(round_), round_)
            follow(fast, round_)
        late = slow.push(gradient_of(11), 3)  # three versions behind
        assert (late.verdict, late.version) == (pb.VERDICT_LATE, 5)
        follow(slow, late.version)
        assert slow.push(gradient_of(12), 6).verdict == pb.VERDICT_COUNTED
        for worker in (fast, slow):
            follow(worker, 6)
        wanted = expected_weights(fast, [1, 2, 10, 4, 5, 12])
        np.testing.assert_allclose(fast.flat[: fast.layout.n_parameters], wanted, atol=1e-6)
        assert fast.digest == slow.digest
        assert slow.push(gradient_of(13), 6).verdict == pb.VERDICT_DUPLICATE
        assert fast.push(gradient_of(13), 6).verdict == pb.VERDICT_LATE  # the run is over, and no error
        for worker in (fast, slow):
            worker.leave()
        server.join()
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 6


def test_settings_of_the_other_mode_are_refused_by_name(tmp_path: Path) -> None:
    for changes, match in (
        ({"deadline": "5"}, "deadline: got '5 s' in the asynchronous mode"),
        ({"quorum": "all"}, "quorum: got 'all' in the asynchronous mode"),
        ({"mode": "synchronous"}, "staleness: got 2 in the synchronous mode"),
    ):
        with pytest.raises(ConfigError, match=match):
            ScheduleSettings.of(config(tmp_path, **changes))
    assert ScheduleSettings.of(config(tmp_path, staleness=None, workers=5)).staleness == 10


def test_a_push_that_was_not_computed_on_the_version_before_its_round_is_refused(tmp_path: Path) -> None:
    with running_server(config(tmp_path)) as server, plain_workers(server.address, 2) as (a, b):
        a.begin(initial_weights())
        b.begin()
        a.push(gradient_of(1), 1)
        follow(a, 1)
        with refused(UsageError, "got base version 1, want the round - 1$"):
            a.push(gradient_of(2), 3, base_version=1)


@pytest.mark.parametrize("checkpoint_every", [1, 100])
@pytest.mark.parametrize("stopped", [False, True])
def test_a_killed_server_goes_on_with_the_same_versions_in_the_same_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint_every: int, stopped: bool
) -> None:
    """At the kill two versions are there, a third is being made, and pushes wait behind it."""
    runs, copy = tmp_path / "runs", tmp_path / "copy"
    stepping = Halt()
    step = Step.step

    def slow_third_step(self: Step, closed: ClosedRound, mean: Mean) -> Any:
        if closed.round == 3:
            stepping.halt()
        return step(self, closed, mean)

    def push(worker: PlainWorker, seed: int, round_: int) -> pb.Receipt:
        return worker.send(worker.gradient_messages(gradient_of(seed), round_, 4, Entropy()))

    def finish(server: RunningServer, workers: tuple[PlainWorker, ...]) -> None:
        """Make the last version after the five that are counted, and end the run."""
        for worker in workers:
            follow(worker, 5)
        push(workers[-1], 6, 6)
        for worker in workers:
            follow(worker, 6)
            worker.leave()
        server.join()

    changes = {"optimizer": "Adam", "quantizer": "uniform", "checkpoint_every": checkpoint_every, "staleness": 4}
    monkeypatch.setattr(Step, "step", slow_third_step)
    with running_server(config(runs, **changes)) as server, plain_workers(server.address, 3) as (a, b, c):
        for worker in (a, b, c):
            worker.begin(initial_weights())
        push(a, 1, 1)
        follow(a, 1)
        push(a, 2, 2)
        follow(a, 2)
        counted = [push(b, 3, 1)]
        assert stepping.reached.wait(HALT_SECONDS)
        counted += [push(c, 4, 1), push(a, 5, 3)]
        assert [(each.verdict, each.version) for each in counted] == [(pb.VERDICT_COUNTED, n) for n in (3, 4, 5)]
        copy_as_killed(runs, copy)
        stepping.go_on.set()
        finish(server, (a, b, c))
    if stopped:  # once more: resumed, then ended in order while pushes wait
        stepping.go_on.clear()
        stepping.reached.clear()
        with running_server(config(copy, resume=True, **changes)) as server, plain_workers(server.address, 1) as (a,):
            assert stepping.reached.wait(HALT_SECONDS)
            server.stop()
            stepping.go_on.set()
            server.join()
    with running_server(config(copy, resume=True, **changes)) as server, plain_workers(server.address, 3) as (a, b, c):
        for worker in (a, b, c):
            worker.join()
            worker.watch()
        repeated = [push(b, 3, 1), push(c, 4, 1), push(a, 5, 3)]
        told = [(pb.VERDICT_DUPLICATE, each.version, each.digest) for each in counted]
        assert [(each.verdict, each.version, each.digest) for each in repeated] == told
        finish(server, (a, b, c))
    first, second = (load_file(place / "run" / "weights.safetensors") for place in (runs, copy))
    assert all((first[name] == second[name]).all() for name in first)


def test_a_push_whose_worker_dies_before_the_receipt_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its call is cancelled while the server brings it to the disk."""
    writing = Halt()
    append = Store._append

    def slow_append(self: Store, records: Any) -> None:
        writing.halt()
        append(self, records)

    monkeypatch.setattr(Store, "_append", slow_append)
    changes = {"checkpoint_every": 100, "rounds": 2, "workers": 1}
    with running_server(config(tmp_path, **changes)) as server, plain_workers(server.address, 1) as (a,):
        a.begin(initial_weights())
        call = a.stub.Push.future(a.gradient_messages(gradient_of(1), 1), timeout=60)
        assert writing.reached.wait(HALT_SECONDS)
        call.cancel()
        writing.go_on.set()
        follow(a, 1)
        receipt = eventually(lambda: a.push(gradient_of(1), 1))
        assert (receipt.verdict, receipt.version) == (pb.VERDICT_DUPLICATE, 1)
        assert a.push(gradient_of(2), 2).version == 2
        follow(a, 2)
        np.testing.assert_allclose(a.flat[: a.layout.n_parameters], expected_weights(a, [1, 2]), atol=1e-6)
        a.leave()
        server.join()
