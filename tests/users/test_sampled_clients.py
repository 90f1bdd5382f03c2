"""Rounds of a few clients each: the others wait with the newest weights, through kills and departures."""

import json
import threading
from collections import defaultdict
from pathlib import Path

import pytest
import torch

from gradwire import InStep, LocalSteps, RemoteOptimizer, SessionOptions
from gradwire.commands.status import status_figures
from gradwire.local.monitor import Monitor
from gradwire_common.errors import ConfigError
from gradwire_common.settings.config import Config
from gradwire_worker.runner import run_worker
from running import copy_as_killed, running_server
from worker.toys import batches, perceptron, run_together, server_config, take_step

CLIENTS = 5
ROUNDS = 8
KILLED_AT = 4  # the round that is open then


class Clients:
    """Clients whose gradients follow from slot and version alone.

    Attributes:
        seen: round -> the clients that took part.
    """

    def __init__(self, address: str, runs: Path | None = None, copy: Path | None = None):
        self.address = address
        self.seen: dict[int, set[int]] = defaultdict(set)
        self._runs, self._copy = runs, copy
        self._killing = threading.Lock()

    def run(self, *numbers: int) -> dict[int, set[int]]:
        """Train with all clients to the end; return which of them took part in which round."""
        run_together(*(lambda each=number: self._work(each) for number in numbers))
        return dict(self.seen)

    def _work(self, number: int) -> None:
        model = perceptron()
        session = SessionOptions(worker_id=f"client-{number}", slot=number)
        with RemoteOptimizer(model, self.address, session=session) as optimizer:
            while not optimizer.ended:
                self.seen[optimizer.next_round].add(number)
                if optimizer.next_round == KILLED_AT and self._runs is not None:
                    with self._killing:
                        if not self._copy.exists():
                            copy_as_killed(self._runs, self._copy)
                batch = batches(1, seed=100 * number + optimizer.version)[0]
                take_step(model, optimizer, batch, samples=8)
            assert optimizer.version == ROUNDS


def weights(runs: Path) -> bytes:
    return (runs / "run" / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("checkpoint_every", [3, 100])
def test_a_killed_server_draws_the_same_clients_and_ends_with_the_same_bits(tmp_path, checkpoint_every):
    runs, copy = tmp_path / "runs", tmp_path / "copy"
    settings = {
        "workers": CLIENTS,
        "rounds": ROUNDS,
        "sampled": "40 %",
        "checkpoint_every": checkpoint_every,
        "seed": 1,
    }
    with running_server(server_config(runs, **settings)) as server:
        seen = Clients(server.address, runs, copy).run(*range(CLIENTS))
        server.join()
    assert {len(clients) for clients in seen.values()} == {2}
    assert set(seen) == set(range(1, ROUNDS + 1))
    with running_server(server_config(copy, **settings, resume=True)) as server:
        again = Clients(server.address).run(*reversed(range(CLIENTS)))
        server.join()
    assert all(again[round_] == seen[round_] for round_ in range(KILLED_AT + 1, ROUNDS + 1))
    assert again.get(KILLED_AT, set()) <= seen[KILLED_AT]  # those whose push was on the disk need not push again
    assert weights(copy) == weights(runs)


def test_a_client_that_leaves_when_it_is_called_holds_up_nobody(tmp_path):
    with running_server(server_config(tmp_path, workers=3, rounds=ROUNDS, sampled=1)) as server:
        model = perceptron()
        entered = threading.Event()

        def leaver() -> None:
            with RemoteOptimizer(model, server.address, session=SessionOptions(slot=0)):
                entered.set()  # its turn has come
                with Monitor(server.address, 5.0) as monitor:
                    assert status_figures(monitor.poll())["workers_a_round"] == 1

        run_together(leaver, lambda: Clients(server.address).run(1, 2))
        server.join()
    assert entered.is_set()


def test_clients_with_local_steps_begin_them_at_the_weights_of_their_round(tmp_path):
    with running_server(server_config(tmp_path, workers=3, rounds=4, sampled=1, lr=1.0)) as server:
        versions = []

        def work(number: int) -> None:
            model = perceptron()
            session = SessionOptions(slot=number)
            with RemoteOptimizer(model, server.address, source=LocalSteps(2), session=session) as optimizer:
                while not optimizer.ended:
                    versions.append(optimizer.version)
                    take_step(model, optimizer, batches(1)[0], samples=8)

        run_together(*(lambda each=number: work(each) for number in range(3)))
        server.join()
    assert sorted(versions) == [0, 0, 1, 1, 2, 2, 3, 3]  # two steps a round, of one client


def test_those_who_begin_a_round_evaluate_the_version_before_it_and_all_the_last(tmp_path):
    settings = {"workers": 3, "rounds": 6, "sampled": "1", "evaluate_every": 2, "task": "digits", "batch_size": 16}
    with running_server(server_config(tmp_path, **settings)) as server:
        config = Config.load(None, {"server": server.address, "device": "cpu", "threads": 1, "workers": 3})
        run_together(*(lambda each=n: run_worker(config.replaced(slot=each)) for n in range(3)))
        server.join()
    torch.use_deterministic_algorithms(False)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["samples"] for line in lines if line["kind"] == "round"] == [16] * 6
    counts = {line["version"]: line["metrics"]["accuracy"]["count"] for line in lines if line["kind"] == "evaluation"}
    assert counts == {2: 120, 4: 120, 6: 360}


def test_a_delay_has_no_place_where_clients_wait_for_their_turn(tmp_path):
    with (
        running_server(server_config(tmp_path, workers=2, sampled=1)) as server,
        pytest.raises(ConfigError, match="delay: got 1 in a run whose rounds are of some workers each, want 0"),
    ):
        RemoteOptimizer(perceptron(), server.address, source=InStep(delay=1))


def test_a_round_that_has_its_samples_closes_without_the_slow_whose_push_joins_a_later_one(tmp_path):
    with running_server(server_config(tmp_path, workers=2, rounds=4, target_samples=32)) as server:
        go_on = threading.Event()
        counted = []

        def fast() -> None:
            model = perceptron()
            with RemoteOptimizer(model, server.address, session=SessionOptions(slot=0)) as optimizer:
                for batch in batches(2):
                    take_step(model, optimizer, batch, samples=32)
                go_on.set()
                while not optimizer.ended:
                    take_step(model, optimizer, batches(1)[0], samples=16)

        def slow() -> None:
            model = perceptron()
            with RemoteOptimizer(model, server.address, session=SessionOptions(slot=1)) as optimizer:
                assert go_on.wait(60)
                while not optimizer.ended:
                    take_step(model, optimizer, batches(1)[0], samples=16)
                    counted.append(optimizer.last_step.counted)

        run_together(fast, slow)
        server.join()
    assert counted[0] is False
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["samples"] for line in lines if line["kind"] == "round"] == [32] * 4
