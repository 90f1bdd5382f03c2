"""Encoding during the backward pass: the same numbers as without, and an error where a gradient changes afterwards."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gradwire_common.errors import NonFiniteError, UsageError
from gradwire_worker.coding import Coding
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.sources.during_backward import DuringBackward
from gradwire_worker.sources.in_step import InStep
from running import running_server
from worker.toys import assert_same_state, batches, loss_of, normalized, perceptron, server_config, state_of, take_step

BATCHES = batches(8)


def trained(
    folder: Path, *, overlap: bool, coding: Coding | None = None, bits: float | None = None
) -> dict[str, torch.Tensor]:
    model = perceptron()
    with (
        running_server(server_config(folder)) as server,
        RemoteOptimizer(
            model, server.address, bits=bits, coding=coding, source=(DuringBackward if overlap else InStep)()
        ) as optimizer,
    ):
        for batch in BATCHES:
            take_step(model, optimizer, batch)
        assert optimizer.version == len(BATCHES)
    return state_of(model)


@pytest.mark.parametrize(
    "options",
    [{}, {"bits": 2.0, "coding": Coding(allocation="per-tensor")}, {"coding": Coding(quantizer="float8-1-4-3")}],
)
def test_frames_made_during_backward_are_those_made_in_step(tmp_path: Path, options: dict[str, object]) -> None:
    got = trained(tmp_path / "a", overlap=True, **options)
    assert_same_state(got, trained(tmp_path / "b", overlap=False, **options))


def test_the_common_step_size_follows_from_the_round_before(tmp_path: Path) -> None:
    model = perceptron()
    with (
        running_server(server_config(tmp_path)) as server,
        RemoteOptimizer(model, server.address, bits=2.0, source=DuringBackward()) as optimizer,
    ):
        steps = []
        for batch in BATCHES:
            take_step(model, optimizer, batch)
            assert optimizer.last_step is not None
            steps.append(optimizer.last_step.step_size)
            assert 0.5 < optimizer.last_step.n_bytes * 8 / 5444 < 5.0
    assert steps[0] == steps[1]
    assert len(set(steps)) > 2


def test_buffers_follow_where_they_are_due(tmp_path: Path) -> None:
    states = {}
    for overlap in (True, False):
        model = normalized()
        with (
            running_server(server_config(tmp_path / str(overlap), buffers_every=2)) as server,
            RemoteOptimizer(model, server.address, source=(DuringBackward if overlap else InStep)()) as optimizer,
        ):
            for batch in batches(5, (1, 8, 8)):
                take_step(model, optimizer, batch)
        states[overlap] = state_of(model)
    assert_same_state(states[True], states[False])


def begun(model: torch.nn.Module, optimizer: RemoteOptimizer) -> None:
    """Take the first step, which is encoded as without overlap, and the next backward pass."""
    loss_of(model, BATCHES[0]).backward()
    optimizer.step()
    optimizer.zero_grad()
    loss_of(model, BATCHES[1]).backward()


def test_a_gradient_that_was_clipped_afterwards_is_refused_by_name(tmp_path: Path) -> None:
    model = perceptron()
    with (
        running_server(server_config(tmp_path)) as server,
        RemoteOptimizer(model, server.address, bits=2.0, source=DuringBackward()) as optimizer,
    ):
        begun(model, optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
        with pytest.raises(UsageError, match=r"\d\.\w+: its gradient changed after it was encoded"):
            optimizer.step()
        take_step(model, optimizer, BATCHES[1])
        assert optimizer.version == 2


def test_a_second_backward_pass_before_step_is_refused_by_name(tmp_path: Path) -> None:
    model = perceptron()
    with (
        running_server(server_config(tmp_path)) as server,
        RemoteOptimizer(model, server.address, source=DuringBackward()) as optimizer,
    ):
        begun(model, optimizer)
        with pytest.raises(UsageError, match="got a second gradient before step"):
            loss_of(model, BATCHES[2]).backward()


def test_a_gradient_that_is_not_finite_is_refused_by_name_and_nothing_is_lost(tmp_path: Path) -> None:
    model = perceptron()
    with (
        running_server(server_config(tmp_path)) as server,
        RemoteOptimizer(model, server.address, bits=1.0, source=DuringBackward()) as optimizer,
    ):
        begun(model, optimizer)
        optimizer.step()
        residual = optimizer.state_dict()["residual"].numpy()
        optimizer.zero_grad()
        (loss_of(model, BATCHES[2]) * float("nan")).backward()
        with pytest.raises(NonFiniteError, match="weight"):
            optimizer.step()
        np.testing.assert_array_equal(optimizer.state_dict()["residual"].numpy(), residual)
        assert optimizer.version == 2


def test_what_wants_all_gradients_at_once_does_not_overlap(tmp_path: Path) -> None:
    with (
        running_server(server_config(tmp_path, quantizer="lossless", transform="dct")) as server,
        pytest.raises(UsageError, match=r"overlap: got .*transform dct"),
    ):
        RemoteOptimizer(perceptron(), server.address, source=DuringBackward())
