"""A worker process, from its settings to the end of the run."""

import json
import logging
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gradwire_common.errors import ConfigError, TaskError
from gradwire_common.settings.config import Config
from gradwire_worker.compute.device import choose_device
from gradwire_worker.runner import run_worker, shard_of
from gradwire_worker.tasks import load_task
from running import running_server


def settings(runs: Path, **changes: object) -> dict[str, object]:
    return {
        "runs": runs,
        "listen": "127.0.0.1:0",
        "workers": 1,
        "rounds": 30,
        "batch_size": 32,
        "evaluate_every": 10,
        "device": "cpu",
        "threads": 1,
        **changes,
    }


@pytest.fixture(autouse=True)
def deterministic():
    """Put back what a worker process settles for good."""
    yield
    torch.use_deterministic_algorithms(False)


def train(runs: Path, **changes: object) -> tuple[dict[str, torch.Tensor], list[dict[str, object]]]:
    """Run server and worker; return the final weights and the metrics."""
    with running_server(Config.load(None, settings(runs, **changes))) as server:
        run_worker(Config.load(None, settings(runs, server=server.address, **changes)))
        server.join()
    lines = (runs / "run" / "metrics.jsonl").read_text().splitlines()
    return load_file(runs / "run" / "weights.safetensors"), [json.loads(line) for line in lines]


def test_digits_are_learned_and_evaluated_at_the_stated_versions(tmp_path):
    _, metrics = train(tmp_path)
    evaluations = [line for line in metrics if line["kind"] == "evaluation"]
    assert [line["version"] for line in evaluations] == [10, 20, 30]
    assert all(metric["count"] == 360 for line in evaluations for metric in line["metrics"].values())
    assert evaluations[-1]["metrics"]["accuracy"]["mean"] > 0.6
    losses = [line["loss"] for line in metrics if line["kind"] == "round"]
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("worker", ["", "other"])
def test_a_worker_of_a_finished_run_says_so_and_ends_without_an_error(tmp_path, caplog, worker):
    first, _ = train(tmp_path, rounds=2, worker_id="known")
    with caplog.at_level(logging.INFO):
        again, _ = train(tmp_path, rounds=2, worker_id=worker or "known", resume=True)
    assert f"run ended at version 2{': nothing is left to do' if worker else ''}" in caplog.text
    assert all(torch.equal(again[name], tensor) for name, tensor in first.items())


def test_the_same_seed_gives_the_same_weights_bit_for_bit_and_another_does_not(tmp_path):
    first, _ = train(tmp_path / "a", rounds=5)
    again, _ = train(tmp_path / "b", rounds=5)
    other, _ = train(tmp_path / "c", rounds=5, seed=1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_the_log_says_at_the_end_what_came_of_it_where_it_lies_and_how_to_load_it(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    train(tmp_path, rounds=2, evaluate_every=2)
    end = next(text for text in caplog.messages if text.startswith("the run ended at version"))
    assert re.match(r"the run ended at version 2 of 2, train loss \d\.\d+, test accuracy .* on this worker's", end)
    assert "run/weights.safetensors in the server's folder of runs: gradwire.load_weights(model" in caplog.text


def test_uneven_shards_push_the_samples_they_have(tmp_path):
    _, metrics = train(tmp_path, task="digits", rounds=2, batch_size=2000)
    assert [line["samples"] for line in metrics if line["kind"] == "round"] == [1437, 1437]


def test_a_split_by_class_needs_classes():
    config = Config.load(None, {"task": "synthetic", "split": "dirichlet"})
    with pytest.raises(TaskError, match="split dirichlet: task synthetic has no labels, want split iid"):
        shard_of(load_task(config), config, 0, 2)


def test_a_worker_beyond_the_slots_shares_the_shard_of_another():
    config = Config.load(None, {"task": "digits"})
    task = load_task(config)
    assert (shard_of(task, config, 2, 2) == shard_of(task, config, 0, 2)).all()


@pytest.mark.parametrize("name", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(ConfigError, match=f"device: got '{name}', want"):
        choose_device(name)


@pytest.mark.gpu
def test_a_run_on_the_gpu_learns(tmp_path, cuda):
    _, metrics = train(tmp_path, device="cuda")
    assert [line["metrics"]["accuracy"]["mean"] for line in metrics if line["kind"] == "evaluation"][-1] > 0.6
