"""Local steps: what is pushed is what several steps of a worker's own optimizer changed."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from gradwire_common.errors import ConfigError, JoinError, NonFiniteError, UsageError
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.session import SessionOptions
from gradwire_worker.sources.local_steps import LocalSteps
from running import running_server
from worker.toys import (
    assert_same_state,
    batches,
    normalized,
    perceptron,
    run_together,
    server_config,
    state_of,
    take_step,
)

MOMENTUM = LocalSteps(3, "SGD", 0.05, {"momentum": 0.9})
BATCHES = batches(40)


def fed_avg(runs: Path, **changes: object):
    return running_server(server_config(runs, **{"lr": 1.0, "optimizer_options": {}, **changes}))


def train(model: torch.nn.Module, optimizer: RemoteOptimizer, steps: int, first: int = 0, samples: int = 8) -> None:
    for batch in BATCHES[first : first + steps]:
        take_step(model, optimizer, batch, samples=samples)


def test_one_local_step_of_sgd_and_fed_avg_is_plain_sgd(tmp_path: Path) -> None:
    plain, local = perceptron(), perceptron()
    with running_server(server_config(tmp_path / "a")) as server, RemoteOptimizer(plain, server.address) as optimizer:
        train(plain, optimizer, 10)
    with (
        fed_avg(tmp_path / "b") as server,
        RemoteOptimizer(local, server.address, source=LocalSteps(1, lr=0.1)) as optimizer,
    ):
        train(local, optimizer, 10)
        assert optimizer.version == 10
    for name, want in state_of(plain).items():
        torch.testing.assert_close(state_of(local)[name], want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["SGD", "AdamW", "Rprop"])
def test_alone_and_exact_a_worker_goes_the_way_of_its_local_optimizer(tmp_path: Path, name: str) -> None:
    got, want = perceptron(), perceptron()
    options = {"momentum": 0.9} if name == "SGD" else {}
    with (
        fed_avg(tmp_path) as server,
        RemoteOptimizer(got, server.address, source=LocalSteps(4, name, 0.01, options)) as optimizer,
    ):
        train(got, optimizer, 12)
        assert (optimizer.version, optimizer.local_steps_taken) == (3, 0)
        assert optimizer.last_step is not None
        assert optimizer.last_step.samples == 4 * 8
    own = getattr(torch.optim, name)(want.parameters(), lr=0.01, **options)
    for batch in BATCHES[:12]:
        take_step(want, own, batch)
    for tensor_name, tensor in state_of(want).items():
        torch.testing.assert_close(state_of(got)[tensor_name], tensor, rtol=1e-4, atol=1e-5)


def test_fed_avg_is_the_mean_of_the_workers_weights_by_samples(tmp_path: Path) -> None:
    models, twins, ends = [perceptron(), perceptron()], [perceptron(), perceptron()], {}
    with fed_avg(tmp_path, workers=2, rounds=1) as server:

        def work(slot: int) -> None:
            own = twins[slot]  # goes the same way, alone
            sgd = torch.optim.SGD(own.parameters(), lr=0.1)
            with RemoteOptimizer(
                models[slot], server.address, source=LocalSteps(3), session=SessionOptions(slot=slot)
            ) as optimizer:
                first = 10 * slot
                train(models[slot], optimizer, 3, first=first, samples=1 + 2 * slot)
            for batch in BATCHES[first : first + 3]:
                take_step(own, sgd, batch)
            ends[slot] = state_of(own)

        run_together(*(lambda slot=slot: work(slot) for slot in (0, 1)))
    assert_same_state(state_of(models[0]), state_of(models[1]))
    for name, got in state_of(models[0]).items():
        torch.testing.assert_close(got, 0.25 * ends[0][name] + 0.75 * ends[1][name], rtol=1e-5, atol=1e-6)


def low_bits(folder: Path, seed: int = 0) -> dict[str, torch.Tensor]:
    models = [perceptron(seed), perceptron(seed)]
    settings = {"workers": 2, "rounds": 4, "quantizer": "uniform", "bits": 0.5, "optimizer": "FedAdam", "lr": 0.01}
    with running_server(server_config(folder, **settings, optimizer_options={"betas": [0.9, 0.99]})) as server:

        def work(slot: int) -> None:
            with RemoteOptimizer(
                models[slot], server.address, source=MOMENTUM, session=SessionOptions(slot=slot)
            ) as optimizer:
                train(models[slot], optimizer, 12, first=20 * slot)

        run_together(*(lambda slot=slot: work(slot) for slot in (0, 1)))
    assert_same_state(state_of(models[0]), state_of(models[1]))
    return state_of(models[0])


def test_the_same_seed_gives_the_same_bits(tmp_path: Path) -> None:
    assert_same_state(low_bits(tmp_path / "a"), low_bits(tmp_path / "b"))


STEPS, ROUNDS = 3, 5
IMAGES = batches(STEPS * ROUNDS, (1, 8, 8))
SCHEDULED = LocalSteps(STEPS, "SGD", 0.05, {"momentum": 0.9}, "OneCycleLR")
SETTINGS = {"rounds": ROUNDS, "quantizer": "uniform", "bits": 1.0, "buffers_every": 2}


def train_images(model: torch.nn.Module, optimizer: RemoteOptimizer, until: int, more: int = 0) -> None:
    """Go on to version `until`, and `more` local steps beyond it."""
    while optimizer.version < until or optimizer.local_steps_taken < more:
        batch = IMAGES[optimizer.version * STEPS + optimizer.local_steps_taken]
        take_step(model, optimizer, batch, samples=8)


@pytest.mark.parametrize(("version", "more"), [(2, 0), (3, 2)])
def test_a_worker_killed_between_two_pushes_goes_on_with_the_same_bits(tmp_path: Path, version: int, more: int) -> None:
    want, first, again = normalized(), normalized(), normalized(seed=9)
    with (
        fed_avg(tmp_path / "a", **SETTINGS) as server,
        RemoteOptimizer(want, server.address, source=SCHEDULED) as optimizer,
    ):
        train_images(want, optimizer, ROUNDS)
    how = {"source": SCHEDULED, "session": SessionOptions(worker_id="a"), "state": tmp_path}
    with fed_avg(tmp_path / "b", **SETTINGS) as server:
        with RemoteOptimizer(first, server.address, **how) as optimizer:
            train_images(first, optimizer, version, more)
        with RemoteOptimizer(again, server.address, **how) as optimizer:
            assert (optimizer.resumed, optimizer.version) == (version, version)
            train_images(again, optimizer, ROUNDS)
    assert_same_state(state_of(again), state_of(want))


def test_the_local_rate_of_a_late_worker_is_that_of_the_others(tmp_path: Path) -> None:
    schedule = LocalSteps(2, "SGD", 0.1, {}, "StepLR", {"step_size": 2, "gamma": 0.5})
    rates = {}
    with fed_avg(tmp_path, rounds=10) as server:
        for name in ("early", "late"):
            model = perceptron()
            with RemoteOptimizer(model, server.address, source=schedule) as optimizer:
                train(model, optimizer, 4)
                assert optimizer.local is not None
                rates[name] = (optimizer.version, optimizer.local.param_groups[0]["lr"])
    assert rates == {"early": (2, 0.05), "late": (4, 0.0125)}


def test_what_a_late_push_changed_is_part_of_the_next(tmp_path: Path) -> None:
    model, other = perceptron(), perceptron()
    with (
        fed_avg(tmp_path, deadline="0.1") as server,
        RemoteOptimizer(model, server.address, source=LocalSteps(2), session=SessionOptions(slot=0)) as optimizer,
        RemoteOptimizer(other, server.address, source=LocalSteps(2), session=SessionOptions(slot=1)) as second,
    ):
        train(model, optimizer, 1)
        train(other, second, 2)  # the deadline closes round 1 without the first worker
        assert second.version == 1
        train(model, optimizer, 1, first=1)
        report = optimizer.last_step
        assert report is not None
        assert not report.counted
        assert optimizer.state_dict()["residual"].abs().max() > 0
        assert_same_state(state_of(model), state_of(other))


def test_bits_auto_keeps_its_budgets(tmp_path: Path) -> None:
    settings = {"quantizer": "uniform", "bits": "auto", "rate_up": "40 kbit/s", "transfer_seconds": 0.2}
    with fed_avg(tmp_path, **settings) as server:
        model = perceptron()
        with RemoteOptimizer(model, server.address, source=LocalSteps(3)) as optimizer:
            for first in range(0, 12, 3):
                train(model, optimizer, 3, first=first)
                report = optimizer.last_step
                assert report is not None
                assert 0.9 * 1000 < report.wire_bytes <= report.budget


def test_options_of_parameter_groups_are_the_local_optimizer_s(tmp_path: Path) -> None:
    model = perceptron()
    still = model[0].weight.detach().clone()
    groups = [{"params": model[0].parameters(), "lr": 0.0}, {"params": model[2].parameters(), "weight_decay": 0.1}]
    with (
        fed_avg(tmp_path) as server,
        RemoteOptimizer(model, server.address, param_groups=groups, source=LocalSteps(2)) as optimizer,
    ):
        assert optimizer.local is not None
        assert [group["lr"] for group in optimizer.local.param_groups] == [0.0, 0.1]
        train(model, optimizer, 4)
        assert optimizer.version == 2
    assert torch.equal(model[0].weight, still)


def test_a_gradient_that_is_not_finite_spoils_nothing(tmp_path: Path) -> None:
    want, got = perceptron(), perceptron()
    for folder, model in (("a", want), ("b", got)):
        with (
            fed_avg(tmp_path / folder) as server,
            RemoteOptimizer(model, server.address, source=dataclasses.replace(MOMENTUM, steps=2)) as optimizer,
        ):
            train(model, optimizer, 3)
            if model is got:
                model[2].bias.grad[1] = float("nan")
                with pytest.raises(NonFiniteError, match=r"2\.bias"):
                    optimizer.step()
            train(model, optimizer, 3, first=3)
            assert optimizer.version == 3
    assert_same_state(state_of(got), state_of(want))


def test_all_workers_of_a_run_must_take_the_same_local_steps(tmp_path: Path) -> None:
    with fed_avg(tmp_path) as server, RemoteOptimizer(perceptron(), server.address, source=LocalSteps(2)):
        with pytest.raises(JoinError, match="local_steps: got 3, want 2"):
            RemoteOptimizer(perceptron(), server.address, source=LocalSteps(3))
        with pytest.raises(JoinError, match=r"local_optimizer: got SGD\(lr=0.2\), want SGD\(lr=0.1\)"):
            RemoteOptimizer(perceptron(), server.address, source=LocalSteps(2, lr=0.2))
        with pytest.raises(JoinError, match="local_steps: got nothing, want 2"):
            RemoteOptimizer(perceptron(), server.address)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"steps": 0}, UsageError, "local_steps: got 0, want a whole number from 1"),
        ({"steps": -1}, UsageError, "local_steps: got -1, want a whole number"),
        ({"optimizer": "Adagard"}, ConfigError, "local_optimizer: got 'Adagard', want one of"),
        ({"optimizer": "LBFGS"}, ConfigError, "local_optimizer: got 'LBFGS'"),
        ({"options": {"momentun": 1}}, ConfigError, "unknown option 'momentun'"),
        ({"schedule": "OneCycleLR"}, ConfigError, "'total_steps' is missing"),
        ({"schedule": "ReduceLROnPlateau"}, ConfigError, "local_schedule: got 'ReduceLROnPlateau'"),
    ],
)
def test_what_cannot_step_is_refused(
    tmp_path: Path, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with fed_avg(tmp_path) as server, pytest.raises(error, match=message):
        RemoteOptimizer(perceptron(), server.address, source=LocalSteps(**{"steps": 2, **settings}))


def test_the_local_optimizer_s_state_travels_in_the_state(tmp_path: Path) -> None:
    model, again = perceptron(), perceptron()
    how = {"source": LocalSteps(2, "AdamW", 0.01), "session": SessionOptions(worker_id="w")}
    with fed_avg(tmp_path) as server:
        with RemoteOptimizer(model, server.address, **how) as optimizer:
            train(model, optimizer, 4)
            state = optimizer.state_dict()
        with RemoteOptimizer(again, server.address, **how) as optimizer:
            optimizer.load_state_dict(state)
            assert optimizer.local is not None
            loaded = optimizer.local.state_dict()["state"]
    for index, entries in state["local"]["state"].items():
        for name, value in entries.items():
            assert torch.equal(loaded[index][name], value)
    assert len(list(itertools.chain(*state["local"]["state"].values()))) == 4 * 3
