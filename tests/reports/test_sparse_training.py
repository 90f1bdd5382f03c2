"""Models whose gradients are mostly zeros train like local SGD at few bits; a run that stands still says so."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from gradwire import RemoteOptimizer
from running import running_server
from worker.toys import server_config

LR = 0.1


class Experts(nn.Module):
    """32 experts, of which every sample uses the one that its first feature says."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.2 * torch.randn(32, 16, 16))
        self.head = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        chosen = self.weight[(x[:, 0] > 0).long() * 7]
        return self.head(torch.relu(torch.einsum("bi,bio->bo", x, chosen)))


class Bags(nn.Module):
    """An EmbeddingBag of which a batch touches few rows."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(rows, 16, mode="sum")
        self.head = nn.Linear(16, 4)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.head(self.table(words))


def zero_last_layer() -> nn.Module:
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 4))
    nn.init.zeros_(model[2].weight)
    nn.init.zeros_(model[2].bias)
    return model


def half_dead() -> nn.Module:
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 4))
    with torch.no_grad():
        model[0].bias[:128] = -100.0
    return model


def zero_scale_residual_blocks() -> nn.Module:
    """A last normalisation scaled by zero, as many residual networks begin."""
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.LayerNorm(64), nn.Linear(64, 4))
    nn.init.zeros_(model[2].weight)
    return model


def features() -> torch.Tensor:
    return torch.randn(64, 64)


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], torch.Tensor]]] = {
    "zero last layer": (zero_last_layer, features),
    "half of the ReLUs dead": (half_dead, features),
    "zero scales": (zero_scale_residual_blocks, features),
    "one expert of 32": (Experts, lambda: torch.randn(64, 16)),
    "bags of 5,000 rows": (lambda: Bags(5000), lambda: torch.randint(5000, (64, 5))),
    "bags of 100,000 rows": (lambda: Bags(100_000), lambda: torch.randint(100_000, (64, 5))),
}


def trained(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor) -> float:
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return float(nn.functional.cross_entropy(model(x), y).detach())


@pytest.mark.parametrize("bits", [0.2, 1.0, 2.0])
@pytest.mark.parametrize("name", MODELS)
def test_it_trains_to_the_local_loss(name: str, bits: float, tmp_path: Path) -> None:
    build, inputs = MODELS[name]
    torch.manual_seed(0)
    x, y = inputs(), torch.randint(4, (64,))
    first, second = build(), build()
    second.load_state_dict(first.state_dict())
    local = trained(first, torch.optim.SGD(first.parameters(), LR), x, y)
    config = server_config(tmp_path, quantizer="uniform", bits=bits, lr=LR)
    with running_server(config) as server, RemoteOptimizer(second, server.address) as optimizer:
        got = trained(second, optimizer, x, y)
        assert optimizer.last_step is not None
        assert optimizer.last_step.bits_per_entry <= 1.3 * bits + 8 * 400 / sum(p.numel() for p in second.parameters())
    assert got <= 1.1 * local + 0.01


@pytest.mark.parametrize("quantizer", ["uniform", "float4-1-2-1", "float32"])
def test_a_run_that_stands_still_says_so(quantizer: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = nn.Linear(8, 2)
    config = server_config(tmp_path, quantizer=quantizer)
    with (
        caplog.at_level(logging.WARNING, "gradwire"),
        running_server(config) as server,
        RemoteOptimizer(model, server.address) as optimizer,
    ):
        for round_ in range(1, 8):
            optimizer.zero_grad()
            (0.0 * model(torch.ones(4, 8)).sum()).backward()
            optimizer.step()
            assert ("zeros" in caplog.text) == (round_ >= 5)
    assert caplog.text.count("nothing but zeros was sent in 5 rounds") == 1
    assert caplog.text.count("weights have not changed in 5 rounds") == (quantizer != "float32")
