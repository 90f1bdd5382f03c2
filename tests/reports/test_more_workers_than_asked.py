"""Four workers in a run that was begun for two: the runs that collapse are those that collapse in float32 too."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from gradwire import RemoteOptimizer
from gradwire_common.settings.config import Config
from gradwire_worker.evaluation import evaluate
from gradwire_worker.session import SessionOptions
from gradwire_worker.tasks import load_task
from gradwire_worker.tasks.shards import iid_shards, round_batch
from running import running_server
from worker.toys import run_together, server_config

ROUNDS = 100
N_WORKERS = 4
COLLAPSED = 0.5  # accuracy, of a task whose runs end above 0.95


def accuracy(seed: int, runs: Path, **coding: object) -> float:
    task = load_task(Config.load(None, {"seed": seed}))
    torch.manual_seed(seed)
    models = [task.model() for _ in range(N_WORKERS)]
    building = threading.Lock()

    def work(i: int) -> None:
        with building:
            optimizer = RemoteOptimizer(models[i], server.address, session=SessionOptions(worker_id=f"w{i}"))
        with optimizer:
            shard = iid_shards(task.n_train, optimizer.slots, seed)[optimizer.slot % optimizer.slots]
            while not optimizer.ended:
                indices = round_batch(shard, 64, seed, optimizer.slot, optimizer.next_round)
                optimizer.zero_grad()
                loss = task.loss(models[i], task.train_batch(indices, np.random.default_rng(0)))
                loss.backward()
                optimizer.step(samples=len(indices), loss=loss)

    momentum = {"momentum": 0.9}
    config = server_config(runs, workers=2, rounds=ROUNDS, optimizer_options=momentum, **coding)
    with running_server(config) as server:
        run_together(*(lambda i=i: work(i) for i in range(N_WORKERS)))
    return evaluate(task, models[0], np.arange(task.n_test), torch.device("cpu"))["accuracy"].mean


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20))
def test_no_run_collapses_at_two_bits_that_does_not_in_float32(seed: int, tmp_path: Path) -> None:
    got = accuracy(seed, tmp_path / "uniform", quantizer="uniform", bits=2.0)
    if got < COLLAPSED:
        assert accuracy(seed, tmp_path / "float32", quantizer="float32") < COLLAPSED


def test_two_workers_more_than_asked_for_train_as_well(tmp_path: Path) -> None:
    assert accuracy(0, tmp_path, quantizer="uniform", bits=2.0) > 0.9
