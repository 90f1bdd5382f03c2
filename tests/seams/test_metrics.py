"""Metrics of a user's own task: reported by name, merged over two real workers, shown wherever a run is shown."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from cli.conftest import run_to_the_end
from gradwire import Metric, RemoteOptimizer
from gradwire.errors import NonFiniteError, UsageError
from gradwire.views.curves_plot import draw_curves
from gradwire.views.history import History
from gradwire_worker.session import SessionOptions
from running import eventually, running_server
from worker.toys import batches, perceptron, run_together, server_config, take_step

THIS = Path(__file__).parent
N_TEST = 50
NAMES = ["mse", "perplexity", "reach"]


class Regression:
    """A Task of the user's own: one mean, one metric with a count of its own, one with a direction of its own."""

    name = "lines"
    description = "points near a line"
    n_train = 400
    n_test = N_TEST
    labels = None

    def __init__(self):
        rng = np.random.default_rng(5)
        self.x = rng.normal(size=(self.n_train + N_TEST, 3)).astype(np.float32)
        self.y = (self.x @ np.array([[1.0], [-2.0], [0.5]], np.float32)) + np.float32(0.3)

    def model(self):
        return nn.Linear(3, 1)

    def train_batch(self, indices, rng):
        return torch.from_numpy(self.x[indices]), torch.from_numpy(self.y[indices])

    def test_batch(self, indices):
        return torch.from_numpy(self.x[self.n_train + indices]), torch.from_numpy(self.y[self.n_train + indices])

    def loss(self, model, batch):
        return functional.mse_loss(model(batch[0]), batch[1])

    def evaluate(self, model, batch):
        error = functional.mse_loss(model(batch[0]), batch[1])
        tokens = 2 * len(batch[0])
        return {
            "mse": error,
            "perplexity": Metric(tokens * math.exp(float(error)), tokens),
            "reach": Metric(float(batch[0].abs().sum()), len(batch[0]), lower_is_better=True),
        }


def regression(config):
    return Regression()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    flags = ("--task", "test_metrics:regression", "--rounds", 20, "--evaluate-every", 5, "--lr", 0.1)
    path = os.pathsep.join([str(THIS), str(THIS.parent), os.environ.get("PYTHONPATH", "")])
    ended = run_to_the_end("train", *flags, "--compare", "--json", "figures.json", folder=folder, PYTHONPATH=path)
    assert ended.code == 0, ended.err
    return folder, ended.out


def evaluations(folder):
    lines = (folder / "runs" / "run" / "metrics.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["kind"] == "evaluation"]


def test_metrics_of_a_users_task_are_merged_over_its_workers(run):
    written = evaluations(run[0])
    assert [line["version"] for line in written] == [5, 10, 15, 20]
    last = written[-1]["metrics"]
    assert list(last) == NAMES
    assert [last[name]["count"] for name in NAMES] == [N_TEST, 2 * N_TEST, N_TEST]
    assert [last[name]["lower_is_better"] for name in NAMES] == [True, True, True]
    assert last["reach"]["mean"] == pytest.approx(np.abs(Regression().x[400:]).sum() / N_TEST, rel=1e-6)
    assert last["mse"]["mean"] < written[0]["metrics"]["mse"]["mean"]


def test_they_are_shown_by_their_names_and_nothing_is_said_of_an_accuracy(run):
    folder, out = run
    figures = json.loads((folder / "figures.json").read_text())
    assert list(figures["metrics"]) == list(figures["baseline_metrics"]) == NAMES
    means = [line["metrics"]["mse"]["mean"] for line in evaluations(folder)]
    assert figures["metrics"]["mse"]["last"] == means[-1]
    assert figures["metrics"]["mse"]["best"] == min(means)
    for name in NAMES:
        for title in ("last", "mean of last 5", "lowest"):
            assert f"test {name}, {title}" in out
    assert "test mse" in out
    assert "accuracy" not in out
    assert "%" not in out.split("bytes up")[0].splitlines()[-2]


def test_curves_have_a_row_for_each_of_them(run, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    history = History("2 bits")
    history.read(run[0] / "runs" / "run" / "metrics.jsonl")
    draw_curves(tmp_path / "curves.png", [history, history])
    labels = [axes.get_ylabel() for axes in drawn[0].axes]
    named = [label.split("\n")[0] for label in labels if label.startswith("test ")]
    assert named == ["test mse", "test perplexity", "test reach"]
    assert (run[0] / "runs" / "run" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_status_shows_what_two_loops_of_their_own_report(tmp_path):
    config = server_config(tmp_path, workers=2, evaluate_every=1)
    data = batches(2)

    def work(slot):
        model = perceptron()
        with RemoteOptimizer(model, server.address, session=SessionOptions(slot=slot)) as optimizer:
            for batch in data:
                take_step(model, optimizer, batch)
            with pytest.raises(NonFiniteError, match="metric mse: got a sum of nan over 4 samples"):
                optimizer.report(4, perplexity=9.0, mse=torch.tensor(math.nan))
            with pytest.raises(UsageError, match="metric accuracy: got a mean of 75, want a fraction"):
                optimizer.report(4, accuracy=75)
            optimizer.report(4, accuracy=(2 + slot) / 4, **{"mean width": Metric(6 * slot, 3 * slot + 1)})
            take_step(model, optimizer, data[0])

    with running_server(config) as server:
        run_together(lambda: work(0), lambda: work(1))
        shown = eventually(lambda: _if_evaluated(run_to_the_end("status", server.address, folder=tmp_path).out))
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "test accuracy 62.50% (round 2), higher is better" in lines
    assert "test mean width 1.200 (round 2), higher is better" in lines
    assert "train loss -" in lines


def _if_evaluated(out):
    return out if "test accuracy" in out else ""
