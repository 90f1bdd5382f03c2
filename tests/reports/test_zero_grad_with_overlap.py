"""With overlap, gradients that were taken away were never there: the numbers are those without overlap."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from gradwire_common.errors import UsageError
from gradwire_worker.coding import Coding
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.sources.during_backward import DuringBackward
from gradwire_worker.sources.in_step import InStep
from running import running_server
from worker.toys import assert_same_state, batches, loss_of, perceptron, server_config, state_of

BATCHES = batches(6)
Zero = Callable[[nn.Module, RemoteOptimizer], None]


def by_hand(model: nn.Module, _: RemoteOptimizer) -> None:
    for parameter in model.parameters():
        parameter.grad = None


def to_zero_by_hand(model: nn.Module, _: RemoteOptimizer) -> None:
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad.zero_()


WAYS: dict[str, Zero] = {
    "optimizer": lambda _, optimizer: optimizer.zero_grad(),
    "optimizer, to zero": lambda _, optimizer: optimizer.zero_grad(set_to_none=False),
    "module": lambda model, _: model.zero_grad(),
    "module, to zero": lambda model, _: model.zero_grad(set_to_none=False),
    "by hand": by_hand,
    "by hand, to zero": to_zero_by_hand,
    "half by the module, half by the optimizer": lambda model, optimizer: (
        model[0].zero_grad(),
        optimizer.zero_grad(),
    )[0],
}


@pytest.fixture(params=WAYS)
def zero(request: pytest.FixtureRequest) -> Zero:
    return WAYS[request.param]


def trained(
    folder: Path, loop: Callable[[nn.Module, RemoteOptimizer], None], *, overlap: bool
) -> dict[str, torch.Tensor]:
    model = perceptron()
    with (
        running_server(server_config(folder)) as server,
        RemoteOptimizer(
            model,
            server.address,
            bits=2.0,
            coding=Coding(allocation="per-tensor"),
            source=(DuringBackward if overlap else InStep)(),
        ) as optimizer,
    ):
        loop(model, optimizer)
        return {**state_of(model), "residual": optimizer.state_dict()["residual"]}


def assert_same_with_overlap(folder: Path, loop: Callable[[nn.Module, RemoteOptimizer], None]) -> None:
    want = trained(folder / "without", loop, overlap=False)
    assert_same_state(trained(folder / "with", loop, overlap=True), want)


def test_a_batch_that_was_left_out_leaves_no_trace(tmp_path: Path, zero: Zero) -> None:
    def loop(model: nn.Module, optimizer: RemoteOptimizer) -> None:
        for i, batch in enumerate(BATCHES):
            zero(model, optimizer)
            loss_of(model, batch).backward()
            if i not in (2, 3):
                optimizer.step()
        assert optimizer.version == len(BATCHES) - 2

    assert_same_with_overlap(tmp_path, loop)


def test_a_step_after_zero_grad_alone_pushes_zeros(tmp_path: Path, zero: Zero) -> None:
    def loop(model: nn.Module, optimizer: RemoteOptimizer) -> None:
        for i, batch in enumerate(BATCHES):
            zero(model, optimizer)
            loss_of(model, batch).backward()
            if i == 2:
                zero(model, optimizer)
            optimizer.step()

    assert_same_with_overlap(tmp_path, loop)


def test_a_backward_pass_that_broke_off_leaves_no_trace(tmp_path: Path) -> None:
    def loop(model: nn.Module, optimizer: RemoteOptimizer) -> None:
        for i, batch in enumerate(BATCHES):
            optimizer.zero_grad()
            if i == 2:
                handle = model[0].weight.register_hook(fail)
                with pytest.raises(KeyboardInterrupt):
                    loss_of(model, batch).backward()
                handle.remove()
                optimizer.zero_grad()
            loss_of(model, batch).backward()
            optimizer.step()

    def fail(_: torch.Tensor) -> None:
        raise KeyboardInterrupt

    assert_same_with_overlap(tmp_path, loop)


def test_a_gradient_in_place_of_the_one_that_was_seen_is_pushed(tmp_path: Path) -> None:
    def loop(model: nn.Module, optimizer: RemoteOptimizer) -> None:
        for batch in BATCHES:
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            model[0].weight.grad = model[0].weight.grad * 0.5
            optimizer.step()

    assert_same_with_overlap(tmp_path, loop)


def test_adding_to_a_gradient_is_still_refused_and_zero_grad_begins_again(tmp_path: Path) -> None:
    model = perceptron()
    with (
        running_server(server_config(tmp_path)) as server,
        RemoteOptimizer(model, server.address, source=DuringBackward()) as optimizer,
    ):
        for batch in BATCHES[:2]:
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            optimizer.step()
        optimizer.zero_grad()
        loss_of(model, BATCHES[2]).backward()
        with pytest.raises(UsageError, match=r"got a second gradient before step\(\)"):
            loss_of(model, BATCHES[3]).backward()
        optimizer.zero_grad()
        loss_of(model, BATCHES[4]).backward()
        optimizer.step()
        assert optimizer.version == 3
