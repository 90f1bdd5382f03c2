"""A user's own training loop: with one worker, a remote run is the local run, bit for bit."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.session import SessionOptions
from running import running_server
from worker.toys import (
    assert_same_state,
    batches,
    loss_of,
    normalized,
    perceptron,
    run_together,
    server_config,
    state_of,
)

STEPS = 4
Loop = Callable[[nn.Module, torch.optim.Optimizer], None]


def remotely(runs: Path, model: nn.Module, loop: Loop, param_groups: object = None, **settings: object) -> None:
    """Train `model` by `loop` as the only worker of a server."""
    with (
        running_server(server_config(runs, **settings)) as server,
        RemoteOptimizer(
            model, server.address, param_groups=param_groups, session=SessionOptions(patience=60)
        ) as optimizer,
    ):
        loop(model, optimizer)


def assert_remote_is_local(runs: Path, build: Callable[[], nn.Module], loop: Loop, **settings: object) -> None:
    remote, local = build(), build()
    loop(local, torch.optim.SGD([p for p in local.parameters() if p.requires_grad], lr=0.1))
    remotely(runs, remote, loop, **settings)
    assert_same_state(state_of(remote), state_of(local))


def plain(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for batch in batches(STEPS):
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        optimizer.step()


def test_the_plain_loop(tmp_path):
    assert_remote_is_local(tmp_path, perceptron, plain)


def test_clipping_before_the_step(tmp_path):
    def loop(model, optimizer):
        for batch in batches(STEPS):
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), 0.05)
            assert norm > 0.05
            optimizer.step()

    assert_remote_is_local(tmp_path, perceptron, loop)


def test_accumulation_over_several_batches(tmp_path):
    def loop(model, optimizer):
        optimizer.zero_grad()
        for i, batch in enumerate(batches(2 * STEPS), start=1):
            (loss_of(model, batch) / 2).backward()
            if i % 2 == 0:
                optimizer.step()
                optimizer.zero_grad()

    assert_remote_is_local(tmp_path, perceptron, loop)


def test_a_closure_is_called_and_its_loss_returned(tmp_path):
    losses = []

    def loop(model, optimizer):
        for batch in batches(STEPS):

            def closure(batch=batch):
                optimizer.zero_grad()
                loss = loss_of(model, batch)
                loss.backward()
                return loss

            losses.append(float(optimizer.step(closure).detach()))

    assert_remote_is_local(tmp_path, perceptron, loop)
    assert losses[:STEPS] == losses[STEPS:]


def test_grad_scaler_unscales_and_a_skipped_step_costs_no_round(tmp_path):
    versions = []

    def loop(model, optimizer):
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
        for i, batch in enumerate(batches(STEPS)):
            optimizer.zero_grad()
            scaler.scale(loss_of(model, batch)).backward()
            if i == 1:
                model[0].weight.grad[0, 0] = float("inf")
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            versions.append(getattr(optimizer, "version", None))
        assert scaler.get_scale() == 2.0**7

    assert_remote_is_local(tmp_path, perceptron, loop)
    assert versions[STEPS:] == [1, 1, 2, 3]


def test_frozen_parameters_stay_and_the_others_train(tmp_path):
    def build():
        model = perceptron()
        model[0].requires_grad_(False)
        return model

    assert_remote_is_local(tmp_path, build, plain)


def test_a_shared_parameter_is_stepped_once(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.into = nn.Linear(80, 80, bias=False)
            self.out = nn.Linear(80, 80, bias=False)
            self.out.weight = self.into.weight
            self.head = nn.Linear(80, 4)

        def forward(self, x):
            return self.head(self.out(torch.tanh(self.into(x))))

    model = Tied()
    assert_remote_is_local(tmp_path, Tied, plain)
    assert model.out.weight is model.into.weight


def test_a_parameter_without_gradient_counts_as_zero(tmp_path):
    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.used = perceptron()
            self.unused = nn.Linear(3, 3)

        def forward(self, x):
            return self.used(x)

    torch.manual_seed(0)
    model = Unused()
    before = state_of(model)
    remotely(tmp_path, model, plain)
    after = state_of(model)
    assert torch.equal(after["unused.weight"], before["unused.weight"])
    assert not torch.equal(after["used.0.weight"], before["used.0.weight"])


def test_batch_norm_statistics_come_back_as_the_worker_had_them(tmp_path):
    def loop(model, optimizer):
        for batch in batches(STEPS, (1, 8, 8)):
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            optimizer.step()

    assert_remote_is_local(tmp_path, normalized, loop)
    assert_remote_is_local(tmp_path / "rarely", normalized, loop, buffers_every=3)
    assert_remote_is_local(tmp_path / "never", normalized, loop, buffers_every=0)


def test_a_transform_changes_nothing_but_rounding(tmp_path):
    def loop(model, optimizer):
        for batch in batches(STEPS, (1, 8, 8)):
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            optimizer.step()

    remote, local = normalized(), normalized()
    loop(local, torch.optim.SGD(local.parameters(), lr=0.1))
    remotely(tmp_path, remote, loop, quantizer="lossless", transform="dct")
    for name, tensor in local.state_dict().items():
        torch.testing.assert_close(remote.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)


def test_parameter_groups_override_the_servers_options(tmp_path):
    def groups(model):
        return [
            {"params": [model[0].weight, model[2].weight], "weight_decay": 0.1},
            {"params": [model[0].bias], "lr": 1.0},
        ]

    remote, local = perceptron(), perceptron()
    local[2].bias.requires_grad_(False)
    plain(local, torch.optim.SGD(groups(local), lr=0.1))
    remotely(tmp_path, remote, plain, param_groups=groups(remote))
    assert_same_state(state_of(remote), state_of(local))


def test_momentum_and_schedule_are_the_servers(tmp_path):
    remote, local = perceptron(), perceptron()
    optimizer = torch.optim.SGD(local.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    for batch in batches(STEPS):
        optimizer.zero_grad()
        loss_of(local, batch).backward()
        optimizer.step()
        scheduler.step()
    remotely(
        tmp_path,
        remote,
        plain,
        optimizer_options={"momentum": 0.9},
        schedule="StepLR",
        schedule_options={"step_size": 2},
    )
    assert_same_state(state_of(remote), state_of(local))


def test_two_workers_step_by_the_mean_weighted_by_samples(tmp_path):
    models = [perceptron(), perceptron()]
    sizes = [4, 12]
    data = [batches(STEPS, size=size, seed=seed) for seed, size in enumerate(sizes)]
    with running_server(server_config(tmp_path, workers=2)) as server:

        def work(i: int) -> None:
            with RemoteOptimizer(models[i], server.address, session=SessionOptions(slot=i, patience=60)) as optimizer:
                for batch in data[i]:
                    optimizer.zero_grad()
                    loss_of(models[i], batch).backward()
                    optimizer.step(samples=sizes[i])

        run_together(lambda: work(0), lambda: work(1))
    local = perceptron()
    optimizer = torch.optim.SGD(local.parameters(), lr=0.1)
    for parts in zip(*data, strict=True):
        optimizer.zero_grad()
        for part, size in zip(parts, sizes, strict=True):
            (loss_of(local, part) * size / sum(sizes)).backward()
        optimizer.step()
    assert_same_state(state_of(models[0]), state_of(models[1]))
    for name, tensor in state_of(local).items():
        torch.testing.assert_close(state_of(models[0])[name], tensor)


@pytest.mark.parametrize("method", [{"quantizer": "uniform", "bits": 2.0}, {"quantizer": "float8-1-5-2"}])
def test_the_same_seed_gives_the_same_weights_bit_for_bit(tmp_path, method):
    def train(runs: Path) -> list[dict[str, torch.Tensor]]:
        models = [normalized(), normalized()]
        with running_server(server_config(runs, workers=2, rounds=6, **method)) as server:

            def work(i: int) -> None:
                with RemoteOptimizer(
                    models[i], server.address, session=SessionOptions(slot=i, patience=60)
                ) as optimizer:
                    for batch in batches(6, (1, 8, 8), seed=i):
                        optimizer.zero_grad()
                        loss_of(models[i], batch).backward()
                        optimizer.step(samples=8)
                    assert optimizer.ended

            run_together(lambda: work(0), lambda: work(1))
        return [state_of(model) for model in models]

    first, second = train(tmp_path / "a"), train(tmp_path / "b")
    assert_same_state(first[0], first[1])
    assert_same_state(first[0], second[0])


@pytest.mark.gpu
def test_amp_on_the_gpu_with_the_split_of_a_step(tmp_path, cuda):
    model = normalized().to(cuda)

    def loop(model, optimizer):
        scaler = torch.amp.GradScaler("cuda")
        for images, classes in batches(STEPS, (1, 8, 8)):
            optimizer.zero_grad()
            with torch.autocast("cuda"):
                loss = loss_of(model, (images.to(cuda), classes.to(cuda)))
            scaler.scale(loss).backward()
            scaler.step(optimizer, samples=8, loss=loss)
            scaler.update()
        step = optimizer.last_step
        assert min(step.compute, step.copy, step.fit, step.encode, step.send, step.wait) > 0

    remotely(tmp_path, model, loop, quantizer="uniform")


@pytest.mark.gpu
def test_a_gpu_as_default_device_changes_nothing(tmp_path, cuda):
    torch.set_default_device(cuda)
    try:
        model = normalized().to(cuda)
        with (
            running_server(server_config(tmp_path)) as server,
            RemoteOptimizer(model, server.address) as optimizer,
        ):
            loss_of(model, [tensor.to(cuda) for tensor in batches(1, (1, 8, 8))[0]]).backward()
            optimizer.step()
            assert optimizer.last_step.counted
    finally:
        torch.set_default_device(None)
