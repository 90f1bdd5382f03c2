"""A server optimizer of one's own: signs with momentum, at a rate that falls from step to step."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.testing import assert_allclose

from gradwire_common.layout.manifest import Manifest
from gradwire_server.outcome.optimizers.optimizer import OptimizerSettings
from gradwire_server.outcome.optimizers.registry import OPTIMIZERS
from seams.played import ROUNDS, play
from server.plain_worker import gradient_of, initial_weights

N = len(gradient_of(0))


class Signs:
    """w -= lr / steps * sign(m), where m = 0.5 m + gradient."""

    def __init__(self, manifest: Manifest, weights: np.ndarray, settings: OptimizerSettings):
        self.weights, self.lr, self.steps = weights[: manifest.layout.n_parameters], settings.lr, 0
        self.momentum = np.zeros_like(self.weights)

    @property
    def learning_rate(self) -> float:
        return self.lr / (self.steps + 1)

    def step(self, gradient: np.ndarray, loss: float) -> None:
        rate = np.float32(self.learning_rate)
        self.momentum[:] = 0.5 * self.momentum + gradient[: len(self.momentum)]
        self.weights -= rate * np.sign(self.momentum)
        self.steps += 1

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        return {"signs.momentum": torch.from_numpy(self.momentum)}, {"steps": self.steps}

    def load_state(self, tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any]) -> None:
        self.momentum[:] = tensors["signs.momentum"].numpy()
        self.steps = meta["steps"]


OPTIMIZERS.register("Signs", Signs)


def gradient(worker: int, round_: int) -> np.ndarray:
    return gradient_of(10 * round_ + worker)


def test_an_optimizer_that_was_registered_trains_and_survives_a_kill(tmp_path: Path) -> None:
    got = play(tmp_path / "runs", gradient, optimizer="Signs", lr=0.25)
    expected, momentum = initial_weights()[:N], np.zeros(N, np.float32)
    for round_ in range(1, ROUNDS + 1):
        momentum = 0.5 * momentum + (gradient(0, round_) + gradient(1, round_)) / 2
        expected -= np.float32(0.25 / round_) * np.sign(momentum)
    assert_allclose(got[:N], expected, rtol=1e-5, atol=1e-6)
