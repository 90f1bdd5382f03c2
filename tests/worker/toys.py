"""Small models, and workers as threads."""

import threading
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from gradwire_common.settings.config import Config

JOIN_SECONDS = 60.0


def server_config(runs: Path, **changes: object) -> Config:
    """Settings of a server for one worker, exact and without momentum unless `changes` say otherwise."""
    settings = {
        "runs": runs,
        "listen": "127.0.0.1:0",
        "workers": 1,
        "rounds": 0,
        "quantizer": "float32",
        "lr": 0.1,
        "optimizer_options": {},
        "evaluate_every": 0,
        "heartbeat": 1.0,
    }
    return Config.load(None, {**settings, **changes})


def perceptron(seed: int = 0) -> nn.Sequential:
    """Two linear layers, one of them large enough for a frame of its own."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(80, 64), nn.ReLU(), nn.Linear(64, 4))


def normalized(seed: int = 0) -> nn.Sequential:
    """A convolution with BatchNorm, which has float and integer buffers."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 4))


def batches(
    n: int, shape: tuple[int, ...] = (80,), size: int = 8, seed: int = 1
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Random samples and classes."""
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(size, *shape, generator=generator), torch.randint(4, (size,), generator=generator))
        for _ in range(n)
    ]


def loss_of(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Mean cross-entropy."""
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def take_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, batch: tuple[torch.Tensor, torch.Tensor], **report: object
) -> None:
    """Step once on `batch`, as a training loop does; `report` is what is told to `optimizer.step`."""
    optimizer.zero_grad()
    loss_of(model, batch).backward()
    optimizer.step(**report)


def state_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of all tensors by name."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def assert_same_state(got: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Every tensor has the same bits."""
    assert list(got) == list(expected)
    for name, tensor in expected.items():
        assert torch.equal(got[name], tensor), name


def run_together(*works: Callable[[], None]) -> None:
    """Run each of `works` in a thread of its own; raise what the first of them failed with."""
    errors: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(JOIN_SECONDS)
        if errors:
            raise errors[0]
        assert not thread.is_alive(), "a worker did not end"
