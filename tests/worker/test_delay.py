"""Delay 1: a step returns before its round has closed, and the next gradient is of weights one version old."""

import time
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits

from gradwire_common.errors import NonFiniteError, UsageError
from gradwire_common.settings.together import check_together
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.session import SessionOptions
from gradwire_worker.sources.during_backward import DuringBackward
from gradwire_worker.sources.in_step import InStep
from gradwire_worker.sources.local_steps import LocalSteps
from running import running_server
from worker.toys import (
    assert_same_state,
    batches,
    loss_of,
    perceptron,
    run_together,
    server_config,
    state_of,
    take_step,
)

BATCHES = batches(12)


def test_each_gradient_is_of_weights_one_version_old(tmp_path: Path) -> None:
    model, oracle = perceptron(), perceptron()
    with (
        running_server(server_config(tmp_path, rounds=len(BATCHES))) as server,
        RemoteOptimizer(model, server.address, source=InStep(delay=1)) as optimizer,
    ):
        for index, batch in enumerate(BATCHES):
            take_step(model, optimizer, batch)
            last = index + 1 == len(BATCHES)
            assert optimizer.version == index + last
            assert optimizer.ended == last
    older = [parameter.detach().clone() for parameter in oracle.parameters()]
    for index, batch in enumerate(BATCHES):
        newest = [parameter.detach().clone() for parameter in oracle.parameters()]
        with torch.no_grad():
            for parameter, value in zip(oracle.parameters(), older, strict=True):
                parameter.copy_(value)
        oracle.zero_grad()
        loss_of(oracle, batch).backward()
        with torch.no_grad():
            for parameter, value in zip(oracle.parameters(), newest, strict=True):
                parameter.copy_(value - 0.1 * parameter.grad)
        older = newest if index else older
    for name, want in state_of(oracle).items():
        torch.testing.assert_close(state_of(model)[name], want, rtol=1e-5, atol=1e-6)


def together(folder: Path, delay: int, rounds: int, *, overlap: bool = False) -> torch.nn.Module:
    """Train on the digits with two workers at 2 bits; return one's model."""
    digits = load_digits()
    samples = torch.from_numpy(digits.data).float() / 16
    classes = torch.from_numpy(digits.target)
    config = server_config(
        folder, workers=2, rounds=rounds, quantizer="uniform", bits=2.0, optimizer_options={"momentum": 0.9}
    )
    models = []
    for _ in range(2):
        torch.manual_seed(0)
        models.append(torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)))
    with running_server(config) as server:

        def work(slot: int) -> None:
            generator = torch.Generator().manual_seed(slot)
            with RemoteOptimizer(
                models[slot],
                server.address,
                source=(DuringBackward if overlap else InStep)(delay=delay),
                session=SessionOptions(slot=slot),
            ) as optimizer:
                while not optimizer.ended:
                    chosen = torch.randint(0, 1400, (32,), generator=generator)
                    take_step(models[slot], optimizer, (samples[chosen], classes[chosen]), samples=32)

        run_together(lambda: work(0), lambda: work(1))
    assert_same_state(state_of(models[0]), state_of(models[1]))
    return models[0]


def accuracy(model: torch.nn.Module) -> float:
    digits = load_digits()
    with torch.no_grad():
        found = model(torch.from_numpy(digits.data[1400:]).float() / 16).argmax(1)
    return float((found == torch.from_numpy(digits.target[1400:])).float().mean())


def test_two_delayed_workers_hold_the_same_bits_in_every_run(tmp_path: Path) -> None:
    first = together(tmp_path / "a", 1, 12)
    assert_same_state(state_of(first), state_of(together(tmp_path / "b", 1, 12)))


def test_digits_are_learned_as_well_with_a_delay_and_overlap(tmp_path: Path) -> None:
    prompt = accuracy(together(tmp_path / "a", 0, 150))
    delayed = accuracy(together(tmp_path / "b", 1, 150, overlap=True))
    print(f"without {prompt:.3f}, with delay 1 and overlap {delayed:.3f}")
    assert prompt > 0.85
    assert delayed > prompt - 0.03


def test_who_leaves_with_a_push_under_way_has_it_counted(tmp_path: Path) -> None:
    model = perceptron()
    with running_server(server_config(tmp_path)) as server, RemoteOptimizer(perceptron(), server.address) as other:
        with RemoteOptimizer(model, server.address, source=InStep(delay=1)) as optimizer:
            loss_of(model, BATCHES[0]).backward()
            optimizer.step(samples=5)
            assert optimizer.version == 0
        other.step(samples=3)
        assert other.version == 1
        assert other.last_step is not None
    records = [line for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines() if '"round"' in line]
    assert '"contributors": 2' in records[0]
    assert '"samples": 8' in records[0]


@pytest.mark.parametrize("overlap", [False, True])
def test_a_gradient_that_is_not_finite_costs_no_round(tmp_path: Path, overlap: bool) -> None:
    model = perceptron()
    with (
        running_server(server_config(tmp_path)) as server,
        RemoteOptimizer(model, server.address, source=(DuringBackward if overlap else InStep)(delay=1)) as optimizer,
    ):
        for round_ in range(1, 4):
            optimizer.zero_grad()
            (loss_of(model, BATCHES[0]) * float("nan")).backward()
            with pytest.raises(NonFiniteError):
                optimizer.step()
            take_step(model, optimizer, BATCHES[round_])
            assert optimizer.version == round_ - 1
            if optimizer.last_step is not None:
                assert (optimizer.last_step.round, optimizer.last_step.counted) == (round_ - 1, True)


def test_a_delay_and_local_steps_do_not_go_together() -> None:
    with pytest.raises(TypeError, match="delay"):
        LocalSteps(2, delay=1)
    with pytest.raises(UsageError, match="delay: got it together with local_steps"):
        check_together(delay=1, local_steps=2)


def test_a_delay_of_two_is_refused() -> None:
    with pytest.raises(UsageError, match="delay: got 2, want 0 or 1"):
        RemoteOptimizer(perceptron(), source=InStep(delay=2))


def test_with_a_delay_frames_go_up_while_the_version_before_comes_down(tmp_path: Path) -> None:
    """Each direction takes half a second a round: one after the other would take a second."""
    rounds, rate = 5, 500e3
    torch.manual_seed(0)
    model = torch.nn.Linear(250, 250, bias=False)
    config = server_config(
        tmp_path, rounds=rounds, method="raw", rate_up="4 Mbit/s", rate_down="4 Mbit/s", burst="64 KiB"
    )
    with (
        running_server(config) as server,
        RemoteOptimizer(model, server.address, source=InStep(delay=1)) as optimizer,
    ):
        seconds = 4 * model.weight.numel() / rate
        began = time.monotonic()
        while not optimizer.ended:
            model.weight.grad = torch.full_like(model.weight, 0.1)
            optimizer.step()
        took = time.monotonic() - began
    assert 0.8 * rounds * seconds < took < 1.6 * rounds * seconds  # twice, were it one after the other
