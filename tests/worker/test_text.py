"""The task text: what is read, what is for testing, a model that never looks ahead, and its perplexity."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gradwire_common.errors import TaskError
from gradwire_common.settings.config import Config
from gradwire_worker.evaluation import evaluate
from gradwire_worker.models.transformer import CONTEXT, SIZES
from gradwire_worker.runner import run_worker
from gradwire_worker.tasks import Task, load_task
from gradwire_worker.tasks.text import WINDOW, Text, split
from running import running_server

CPU = torch.device("cpu")


def task_of(**settings: Any) -> Task:
    return load_task(Config.load(None, {"task": "text", **settings}))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A text of 20 KB whose bytes follow from those before them."""
    (tmp_path / "own.txt").write_bytes(b"the quick brown fox jumps over the lazy dog; " * 450)
    return tmp_path / "own.txt"


@pytest.fixture
def _deterministic():
    """Put back what a worker process settles for good."""
    yield
    torch.use_deterministic_algorithms(False)


def test_the_standard_library_is_there_and_says_how_large_it_is() -> None:
    task = task_of()
    assert isinstance(task, Text)
    n = len(task.train) + len(task.test)
    assert n > 1_000_000
    assert b"def namedtuple" in task.train.tobytes() + task.test.tobytes()
    assert re.fullmatch(r"[\d,]+ bytes of Python 3\.\d+'s standard library", task.description)
    assert (task.n_train > 0.9 * n / CONTEXT, task.n_test, task.labels) == (True, 512, None)


@pytest.mark.parametrize("n", [2 * WINDOW, 1000, 19 * WINDOW, 21 * WINDOW + 5, 100_000])
def test_no_byte_is_both_for_training_and_for_testing_and_few_are_neither(n: int) -> None:
    train, test = split(np.arange(n, dtype=np.uint32))  # type: ignore[arg-type]
    assert not set(train.tolist()) & set(test.tolist())
    assert len(train) + len(test) > n - WINDOW
    assert min(len(train), len(test)) >= WINDOW
    assert len(train) >= len(test)


@pytest.mark.parametrize("name", [name for name in SIZES if name != "text-25m"])
def test_models_have_the_stated_sizes_and_never_look_ahead(name: str, file: Path) -> None:
    torch.manual_seed(0)
    model = task_of(model=name, data=file).model()
    assert (
        sum(parameter.numel() for parameter in model.parameters()) == {"text-0.4m": 445_952, "text-3m": 3_257_856}[name]
    )
    assert not list(model.buffers())
    text = torch.randint(256, (2, CONTEXT))
    other = text.clone()
    other[:, 60:] = torch.randint(256, (2, CONTEXT - 60))
    with torch.no_grad():
        got, want = model(other)[:, :60], model(text)[:, :60]
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_a_batch_is_windows_of_the_text_and_the_same_again_for_the_same_numbers(file: Path) -> None:
    task = task_of(data=file)
    assert isinstance(task, Text)
    indices = np.array([0, 5, task.n_train - 1])
    (windows,), (again,) = (task.train_batch(indices, np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(windows, again)
    for window in windows.numpy().astype(np.uint8):
        assert window.tobytes() in task.train.tobytes()
    (tests,) = task.test_batch(np.arange(task.n_test))
    assert tests.shape == (task.n_test, WINDOW)


def test_perplexity_is_that_of_a_byte_however_the_windows_are_batched(file: Path) -> None:
    torch.manual_seed(0)
    task = task_of(data=file)
    model = task.model()
    metrics = evaluate(task, model, np.arange(task.n_test), CPU)
    assert list(metrics) == ["perplexity", "loss"]
    assert metrics["perplexity"].count == metrics["loss"].count == task.n_test * CONTEXT
    assert metrics["perplexity"].mean == pytest.approx(math.exp(metrics["loss"].mean))
    assert 150 < metrics["perplexity"].mean < 400


@pytest.mark.usefixtures("_deterministic")
def test_a_text_of_one_s_own_is_learned_by_local_steps_over_grpc(tmp_path: Path, file: Path) -> None:
    settings = {
        "runs": tmp_path / "runs", "workers": 1, "rounds": 4, "evaluate_every": 4, "batch_size": 4, "threads": 1,
        "task": "text", "data": file, "method": "sparseloco", "aggregation": "senders_mean", "local_steps": 6,
        "local_optimizer": "AdamW", "local_lr": 0.003, "local_optimizer_options": {},
    }  # fmt: skip
    with running_server(Config.load(None, {**settings, "listen": "127.0.0.1:0"})) as server:
        run_worker(Config.load(None, {**settings, "server": server.address, "device": "cpu"}))
        server.join()
    lines = [json.loads(line) for line in (tmp_path / "runs" / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "round"]
    assert losses[-1] < 0.85 * losses[0]
    perplexity = next(line for line in lines if line["kind"] == "evaluation")["metrics"]["perplexity"]["mean"]
    assert perplexity < 100


def test_text_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_bytes(b"x" * (2 * WINDOW - 1))
    with pytest.raises(TaskError, match=f"text: got {2 * WINDOW - 1} bytes, want at least {2 * WINDOW}"):
        task_of(data=tmp_path / "short.txt")
    for name in ("missing.txt", "."):
        with pytest.raises(TaskError, match=r"text: .* cannot be read: .*; want a file"):
            task_of(data=tmp_path / name)
    with pytest.raises(TaskError, match=r"model: got 'resnet20' for task text, want auto, text-0\.4m, text-3m"):
        task_of(model="resnet20")
