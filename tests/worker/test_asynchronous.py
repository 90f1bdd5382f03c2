"""The asynchronous mode as workers see it: no step waits for another worker's."""

from pathlib import Path

import pytest
import torch
from torch import nn

from gradwire_common.errors import RunEndedError, UsageError
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.sources.in_step import InStep
from gradwire_worker.sources.local_steps import LocalSteps
from running import running_server
from worker.toys import assert_same_state, batches, normalized, perceptron, server_config, state_of, take_step

SHAPE = (1, 8, 8)


def step(model: nn.Module, optimizer: RemoteOptimizer, seed: int, shape: tuple[int, ...] = SHAPE) -> None:
    (batch,) = batches(1, shape, seed=seed)
    take_step(model, optimizer, batch)


def config(folder: Path, **changes: object):
    return server_config(folder, **{"mode": "asynchronous", "workers": 2, "rounds": 6, "buffers_every": 2, **changes})


def test_steps_do_not_wait_and_all_hold_the_last_version_in_the_end(tmp_path: Path) -> None:
    models = normalized(0), normalized(1)
    with (
        running_server(config(tmp_path, staleness=3)) as server,
        RemoteOptimizer(models[0], server.address) as fast,
        RemoteOptimizer(models[1], server.address) as slow,
    ):
        for seed in range(3):
            step(models[0], fast, seed)
        assert (fast.version, slow.version) == (3, 0)
        step(models[1], slow, 10)  # three versions behind
        assert (slow.version, slow.last_step.counted) == (4, True)
        step(models[0], fast, 3)
        assert (fast.version, fast.last_step.round) == (5, 4)
        step(models[0], fast, 4)
        assert (fast.version, fast.ended) == (6, True)
        step(models[1], slow, 11)  # too late for any version: no error, but the run's last one
        assert (slow.version, slow.ended) == (6, True)
        assert_same_state(state_of(models[1]), state_of(models[0]))
        with pytest.raises(RunEndedError):
            step(models[1], slow, 12)


def test_a_push_that_is_too_stale_stays_in_the_residual_and_counts_with_the_next(tmp_path: Path) -> None:
    models = perceptron(0), perceptron(0)
    with (
        running_server(config(tmp_path, staleness=1)) as server,
        RemoteOptimizer(models[0], server.address) as fast,
        RemoteOptimizer(models[1], server.address) as slow,
    ):
        for seed in range(2):
            step(models[0], fast, seed, (80,))
        step(models[1], slow, 10, (80,))
        assert (slow.version, slow.last_step.counted) == (2, False)
        kept = slow.state_dict()["residual"]
        assert kept.abs().max() > 0
        before = torch.cat([parameter.detach().flatten() for parameter in models[1].parameters()])
        slow.zero_grad()
        slow.step()  # a gradient of zeros: what is pushed is the residual
        assert (slow.version, slow.last_step.counted) == (3, True)
        after = torch.cat([parameter.detach().flatten() for parameter in models[1].parameters()])
        assert torch.isclose((before - after).norm(), 0.1 * kept.norm(), rtol=1e-4)
        assert not slow.state_dict()["residual"].any()


@pytest.mark.parametrize("local_steps", [0, 2])
def test_one_worker_alone_gets_the_same_bits_in_both_modes(tmp_path: Path, local_steps: int) -> None:
    models = []
    for mode in ("synchronous", "asynchronous"):
        changes = {"mode": mode, "workers": 1, "rounds": 3, "optimizer": "SGD", "optimizer_options": {"momentum": 0.9}}
        models.append(normalized())
        with (
            running_server(config(tmp_path / mode, **changes)) as server,
            RemoteOptimizer(
                models[-1], server.address, source=LocalSteps(local_steps) if local_steps else InStep()
            ) as optimizer,
        ):
            seed = 0
            while not optimizer.ended:
                step(models[-1], optimizer, seed := seed + 1)
    assert_same_state(state_of(models[0]), state_of(models[1]))


def test_a_delay_is_refused(tmp_path: Path) -> None:
    with (
        running_server(config(tmp_path)) as server,
        pytest.raises(UsageError, match="delay: got 1 in a run of the asynchronous mode, want 0"),
    ):
        RemoteOptimizer(perceptron(), server.address, source=InStep(delay=1))
