"""A task of one's own, with a model of one's own.

cd examples
gradwire train --task own_task:build --rounds 100               # a server and two workers on this machine
gradwire worker --task own_task:build --server host:50051       # or a worker for a server elsewhere
"""

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from torch import nn

from gradwire import Config
from gradwire_worker.tasks.classification import Classification

N_TEST = 114


class Model(nn.Module):
    """Two branches, a frozen input scale and BatchNorm buffers."""

    def __init__(self, n_inputs: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(n_inputs), requires_grad=False)
        self.wide = nn.Linear(n_inputs, 2)
        self.deep = nn.Sequential(
            nn.Linear(n_inputs, 96), nn.BatchNorm1d(96), nn.ReLU(), nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 2)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of two classes, (n, 2), for (n, n_inputs)."""
        x = x * self.scale
        return self.wide(x) + self.deep(x)


def build(config: Config) -> Classification:
    """Return the task; `gradwire worker --task own_task:build` calls this with its settings."""
    x, y = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(config.seed).permutation(len(x))
    x = ((x - x.mean(0)) / x.std(0))[order].astype(np.float32)
    y = y[order].astype(np.int64)
    return Classification(
        name="breast-cancer",
        description=f"{len(x) - N_TEST} training and {N_TEST} test samples of 30 measurements",
        build_model=lambda: Model(x.shape[1]),
        x_train=x[N_TEST:],
        y_train=y[N_TEST:],
        x_test=x[:N_TEST],
        y_test=y[:N_TEST],
    )
