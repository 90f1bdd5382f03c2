"""Optimizers, groups and schedules where people write them: the same bits as training without a server."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from gradwire import RemoteOptimizer, SessionOptions
from gradwire_common.errors import ConfigError, JoinError, UsageError
from gradwire_common.settings.config import Config
from running import RunningServer, copy_as_killed, running_server
from worker.toys import assert_same_state, batches, loss_of, normalized, perceptron, run_together, state_of

N = 8
Groups = list[dict[str, Any]]
UNSCALED = torch.amp.GradScaler("cpu", enabled=False)


def serving(runs: Path, **changes: object) -> Any:
    """A server that says nothing of the optimizer unless `changes` do."""
    settings = {
        "runs": runs,
        "listen": "127.0.0.1:0",
        "workers": 1,
        "rounds": N,
        "quantizer": "float32",
        "evaluate_every": 0,
        "heartbeat": 1.0,
    }
    return running_server(Config.load(None, {**settings, **changes}), grace=1.0)


def groups_of(model: nn.Module) -> Groups:
    return [
        {"params": [p for p in model.parameters() if p.ndim > 1]},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0, "lr": 5e-3},
    ]


def one_cycle(optimizer: torch.optim.Optimizer) -> Any:
    return lr_scheduler.OneCycleLR(optimizer, [0.02] * len(optimizer.param_groups), total_steps=N + 1)


def warm_up_and_cosine(optimizer: torch.optim.Optimizer) -> Any:
    warm = lr_scheduler.LinearLR(optimizer, 0.1, total_iters=3)
    return lr_scheduler.SequentialLR(optimizer, [warm, lr_scheduler.CosineAnnealingLR(optimizer, N)], [3])


SCHEDULES: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "LambdaLR": lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step)),
    "warm-up and cosine": warm_up_and_cosine,
    "OneCycleLR": one_cycle,
    "ReduceLROnPlateau": lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5),
}


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: Callable[[torch.optim.Optimizer], Any] | None = None,
    *,
    amp: bool = False,
    clip: bool = False,
    steps: int = N,
    scaler: torch.amp.GradScaler = UNSCALED,
    spike: int = -1,
) -> list[float]:
    """Train as a local loop does, on the same batches; return the rate of every step."""
    scheduler = None if schedule is None else schedule(optimizer)
    rates = []
    for number, batch in enumerate(batches(steps)):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16) if amp else nullcontext():
            loss = loss_of(model, batch) * (1e30 if number == spike else 1.0)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        rate, scale = optimizer.param_groups[0]["lr"], scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        if scaler.get_scale() < scale:  # a gradient overflowed: there was no step
            continue
        rates.append(rate)
        if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
            scheduler.step(loss.item())
        elif scheduler is not None:
            scheduler.step()
    return rates


@pytest.fixture
def rates_of(tmp_path: Path) -> Callable[[RunningServer], list[float]]:
    def read(server: RunningServer) -> list[float]:
        server.join()
        lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
        return [entry["learning_rate"] for line in lines if (entry := json.loads(line))["kind"] == "round"]

    return read


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD, torch.optim.RMSprop, torch.optim.NAdam])
def test_an_optimizer_named_by_its_class_trains_as_it_does_alone(kind: type, tmp_path: Path) -> None:
    local = perceptron()
    train(local, kind(local.parameters(), lr=1e-2, weight_decay=0.1))
    with serving(tmp_path) as server:
        model = perceptron()
        with RemoteOptimizer(model, server.address, optimizer=kind, lr=1e-2, weight_decay=0.1) as optimizer:
            train(model, optimizer)
        assert_same_state(state_of(model), state_of(local))


@pytest.mark.parametrize("name", SCHEDULES)
def test_an_optimizer_that_is_wrapped_trains_as_it_does_alone(name: str, tmp_path: Path, rates_of: Any) -> None:
    """With groups, a schedule, clipping and AMP, the same bits and the same rates in the records."""
    local = perceptron()
    alone = torch.optim.AdamW(groups_of(local), lr=1e-2, betas=(0.8, 0.99), weight_decay=0.1)
    rates = train(local, alone, SCHEDULES[name], amp=True, clip=True)
    with serving(tmp_path) as server:
        model = perceptron()
        wrapped = torch.optim.AdamW(groups_of(model), lr=1e-2, betas=(0.8, 0.99), weight_decay=0.1)
        with RemoteOptimizer.wrap(wrapped, server.address) as optimizer:
            assert train(model, optimizer, SCHEDULES[name], amp=True, clip=True) == rates
        assert_same_state(state_of(model), state_of(local))
        assert rates_of(server) == rates


def test_a_loss_that_is_scaled_trains_as_it_does_alone_and_an_overflow_uses_up_no_round(
    tmp_path: Path, rates_of: Any
) -> None:
    """With torch's GradScaler, groups, clipping and a schedule of two parts."""

    def scaled(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[float]:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, growth_interval=2)
        return train(model, optimizer, warm_up_and_cosine, amp=True, clip=True, scaler=scaler, spike=3)

    local = perceptron()
    rates = scaled(local, torch.optim.AdamW(groups_of(local), lr=1e-2))
    assert len(rates) == N - 1
    with serving(tmp_path, rounds=N - 1) as server:
        model = perceptron()
        with RemoteOptimizer.wrap(torch.optim.AdamW(groups_of(model), lr=1e-2), server.address) as optimizer:
            assert scaled(model, optimizer) == rates
        assert_same_state(state_of(model), state_of(local))
        assert rates_of(server) == rates


def test_a_compiled_model_trains_as_it_does_alone(tmp_path: Path) -> None:
    def compiled() -> Any:
        return torch.compile(perceptron(), backend="aot_eager")  # inductor wants a C++ compiler

    local = compiled()
    train(local, torch.optim.AdamW(local.parameters(), lr=1e-2), warm_up_and_cosine, amp=True)
    with serving(tmp_path) as server:
        model = compiled()
        with RemoteOptimizer(model, server.address, optimizer=torch.optim.AdamW, lr=1e-2) as optimizer:
            train(model, optimizer, warm_up_and_cosine, amp=True)
        assert_same_state(state_of(model), state_of(local))


def test_betas_of_a_group_travel(tmp_path: Path) -> None:
    def own(model: nn.Module) -> Groups:
        decayed, others = groups_of(model)
        return [{**decayed, "betas": (0.5, 0.9), "amsgrad": True}, others]

    local = perceptron()
    train(local, torch.optim.AdamW(own(local), lr=1e-2))
    with serving(tmp_path) as server:
        model = perceptron()
        with RemoteOptimizer.wrap(torch.optim.AdamW(own(model), lr=1e-2), server.address) as optimizer:
            assert optimizer.param_groups[0]["betas"] == (0.5, 0.9)
            train(model, optimizer)
        assert_same_state(state_of(model), state_of(local))


def test_two_workers_are_one_with_twice_the_batch(tmp_path: Path) -> None:
    local = perceptron()
    alone = torch.optim.AdamW(local.parameters(), lr=1e-2)
    schedule = warm_up_and_cosine(alone)
    for x, y in batches(N, size=16):
        alone.zero_grad()
        loss_of(local, (x, y)).backward()
        alone.step()
        schedule.step()
    models = [perceptron(), perceptron()]

    def worker(slot: int, address: str) -> None:
        session = SessionOptions(slot=slot)
        with RemoteOptimizer(models[slot], address, optimizer=torch.optim.AdamW, lr=1e-2, session=session) as optimizer:
            schedule = warm_up_and_cosine(optimizer)
            for x, y in batches(N, size=16):
                optimizer.zero_grad()
                loss_of(models[slot], (x[8 * slot : 8 * slot + 8], y[8 * slot : 8 * slot + 8])).backward()
                optimizer.step(samples=8)
                schedule.step()

    with serving(tmp_path, workers=2) as server:
        run_together(*(lambda slot=slot: worker(slot, server.address) for slot in (0, 1)))
    assert_same_state(state_of(models[0]), state_of(models[1]))
    for name, expected in state_of(local).items():
        torch.testing.assert_close(state_of(models[0])[name], expected, rtol=1e-4, atol=1e-5)


def test_workers_agree_or_leave_the_optimizer_out(tmp_path: Path) -> None:
    def join(address: str, **given: Any) -> RemoteOptimizer:
        return RemoteOptimizer(perceptron(), address, **given)

    with serving(tmp_path, workers=3, rounds=0) as server:
        first = join(server.address, optimizer=torch.optim.AdamW, lr=1e-3)
        for message, given in {
            r"optimizer: got SGD, want AdamW": {"optimizer": torch.optim.SGD, "lr": 1e-3},
            r"lr: got 0.01, want 0.001": {"optimizer": torch.optim.AdamW, "lr": 1e-2},
            r"betas: got \[0.5, 0.999\], want \[0.9, 0.999\]": {
                "optimizer": "AdamW",
                "lr": 1e-3,
                "betas": (0.5, 0.999),
            },
        }.items():
            with pytest.raises(JoinError, match=message):
                join(server.address, **given)
        same = join(server.address, optimizer="AdamW", lr=1e-3, weight_decay=0.01)
        silent = join(server.address)
        assert silent.param_groups[0]["lr"] == 1e-3
        assert silent.param_groups[0]["betas"] == (0.9, 0.999)
        for each in (first, same, silent):
            each.leave()


def test_the_servers_own_settings_win_and_both_ends_say_so(tmp_path: Path, caplog: Any, rates_of: Any) -> None:
    caplog.set_level(logging.WARNING)
    with serving(tmp_path, optimizer="AdamW", lr=0.02) as server:
        model = perceptron()
        with RemoteOptimizer(model, server.address, optimizer=torch.optim.SGD, lr=0.1, momentum=0.9) as optimizer:
            train(model, optimizer, SCHEDULES["LambdaLR"])
        assert rates_of(server) == [0.02] * N
    told = [f"{record.name}: {record.getMessage()}" for record in caplog.records]
    assert any(
        line.startswith("gradwire.server: ") and "got SGD, want AdamW; lr: got 0.1, want 0.02" in line for line in told
    )
    assert any(line.startswith("gradwire: the server's settings win") for line in told)
    assert sum("server's own setting wins: 0.02" in line for line in told) == 1


def test_a_schedule_of_the_servers_wins_and_is_readable(tmp_path: Path) -> None:
    with serving(tmp_path, schedule="LinearLR", schedule_options={"start_factor": 0.5, "total_iters": 4}) as server:
        model = perceptron()
        with RemoteOptimizer(model, server.address, optimizer=torch.optim.SGD, lr=0.1) as optimizer:
            rates = train(model, optimizer)
        assert rates == pytest.approx([0.05, 0.0625, 0.075, 0.0875, 0.1, 0.1, 0.1, 0.1])


def test_a_rate_changed_by_hand_counts_and_the_others_see_it(tmp_path: Path, rates_of: Any) -> None:
    with serving(tmp_path, workers=2, rounds=4) as server:
        seen: list[float] = []

        def hand() -> None:
            model = perceptron()
            with RemoteOptimizer(model, server.address, session=SessionOptions(slot=0)) as optimizer:
                for round_, batch in enumerate(batches(4)):
                    if round_ == 2:
                        optimizer.param_groups[0]["lr"] = 0.025
                    optimizer.zero_grad()
                    loss_of(model, batch).backward()
                    optimizer.step()

        def silent() -> None:
            model = perceptron()
            with RemoteOptimizer(model, server.address, session=SessionOptions(slot=1)) as optimizer:
                for batch in batches(4):
                    optimizer.zero_grad()
                    loss_of(model, batch).backward()
                    optimizer.step()
                    seen.append(optimizer.param_groups[0]["lr"])

        run_together(hand, silent)
        assert rates_of(server) == [0.1, 0.1, 0.025, 0.025]
        assert seen == [0.1, 0.1, 0.025, 0.025]


def test_schedules_that_differ_are_named_and_the_lowest_slot_wins(tmp_path: Path, caplog: Any, rates_of: Any) -> None:
    caplog.set_level(logging.WARNING)
    with serving(tmp_path, workers=2, rounds=3) as server:

        def worker(slot: int) -> None:
            model = perceptron()
            session = SessionOptions(slot=slot, worker_id=f"w{slot}")
            with RemoteOptimizer(model, server.address, session=session) as optimizer:
                train(model, optimizer, lambda each: lr_scheduler.ConstantLR(each, 0.5 / (slot + 1)), steps=3)

        run_together(*(lambda slot=slot: worker(slot) for slot in (0, 1)))
        assert rates_of(server) == [0.05, 0.05, 0.05]
    told = [record.getMessage() for record in caplog.records]
    assert sum("worker w1 (slot 1) has lr 0.025 in group 0, slot's 0.05" in line for line in told) == 1
    assert sum("this worker has 0.025, the run stepped with 0.05" in line for line in told) == 1


@pytest.mark.parametrize(
    ("name", "every"), [("LambdaLR", 100), ("warm-up and cosine", 2), ("OneCycleLR", 100), ("OneCycleLR", 2)]
)
def test_a_run_that_is_resumed_has_the_same_rates_and_bits(name: str, every: int, tmp_path: Path) -> None:
    """From the journal and from a checkpoint; the worker's schedule begins where the run is."""
    half = N // 2

    def join(model: nn.Module, address: str) -> RemoteOptimizer:
        return RemoteOptimizer(
            model, address, optimizer=torch.optim.AdamW, lr=0.01, session=SessionOptions(worker_id="w")
        )

    def go_on(model: nn.Module, optimizer: RemoteOptimizer, schedule: Any, start: int, stop: int) -> None:
        for batch in batches(N)[start:stop]:
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            optimizer.step()
            schedule.step()

    local = perceptron()
    alone = torch.optim.AdamW(local.parameters(), lr=0.01)
    go_on(local, alone, SCHEDULES[name](alone), 0, N)
    with serving(tmp_path / "runs", checkpoint_every=every) as server:
        model = perceptron()
        with join(model, server.address) as optimizer:
            go_on(model, optimizer, optimizer.schedule(SCHEDULES[name]), 0, half)
            copy_as_killed(tmp_path / "runs", tmp_path / "copy")
    with serving(tmp_path / "copy", checkpoint_every=every, resume=True) as server:
        model = perceptron(seed=1)
        with join(model, server.address) as optimizer:
            assert optimizer.version == half
            go_on(model, optimizer, optimizer.schedule(SCHEDULES[name]), half, N)
    assert_same_state(state_of(model), state_of(local))


def test_a_run_is_resumed_at_another_rate_and_stays_there(tmp_path: Path, rates_of: Any) -> None:
    def go_on(address: str, steps: int) -> list[float]:
        model = perceptron()
        with RemoteOptimizer(model, address, session=SessionOptions(worker_id="w")) as optimizer:
            train(model, optimizer, steps=steps)
            return [group["lr"] for group in optimizer.param_groups]

    with serving(tmp_path, lr=0.1) as server:
        assert go_on(server.address, 2) == [0.1]
    with serving(tmp_path, lr=0.025, resume=True) as server:
        assert go_on(server.address, 2) == [0.025]
    with serving(tmp_path, lr=0.025, resume=True) as server:
        assert go_on(server.address, 4) == [0.025]
        assert rates_of(server) == [0.1] * 2 + [0.025] * 6


def test_a_push_that_a_killed_worker_repeats_has_its_rate(tmp_path: Path, rates_of: Any) -> None:
    options: dict[str, Any] = {"state": tmp_path / "state", "session": SessionOptions(worker_id="w")}
    with serving(tmp_path, rounds=3) as server:
        model = perceptron()
        first = RemoteOptimizer(model, server.address, optimizer=torch.optim.SGD, lr=0.1, **options)
        train(model, first, lambda each: lr_scheduler.ConstantLR(each, 0.5), steps=2)
        first.leave()
        again = RemoteOptimizer(model, server.address, optimizer=torch.optim.SGD, lr=0.1, **options)
        assert again.resumed == 2
        assert again.param_groups[0]["lr"] == 0.05
        with again:
            train(model, again, steps=1)
        assert rates_of(server) == [0.05] * 3


def test_weights_of_a_checkpoint_give_way_to_those_of_the_run(tmp_path: Path) -> None:
    """A framework writes them into the model after it has joined, then loads the optimizer's state."""
    with serving(tmp_path, rounds=0, buffers_every=1) as server:
        model = normalized()
        images = iter(batches(4, shape=(1, 8, 8)))
        with RemoteOptimizer(model, server.address, optimizer=torch.optim.AdamW, lr=0.01) as optimizer:
            early = state_of(model)
            stepping(model, optimizer, images)
            held, kept = state_of(model), optimizer.state_dict()
            model.load_state_dict(early)
            with pytest.raises(UsageError, match="residual has shape"):
                optimizer.load_state_dict({**kept, "residual": torch.zeros(1)})
            assert_same_state(state_of(model), early)
            optimizer.load_state_dict(kept)
            assert_same_state(state_of(model), held)
            assert optimizer.version == 1
            stepping(model, optimizer, images)
            assert optimizer.version == 2


def stepping(model: nn.Module, optimizer: RemoteOptimizer, given: Iterator[Any]) -> None:
    optimizer.zero_grad()
    loss_of(model, next(given)).backward()
    optimizer.step()


def test_options_that_cannot_be_are_refused_by_name(tmp_path: Path) -> None:
    with serving(tmp_path, rounds=0) as server:
        with pytest.raises(ConfigError, match="unknown option 'momentum'"):
            RemoteOptimizer(perceptron(), server.address, optimizer=torch.optim.AdamW, momentum=0.9)
        with pytest.raises(UsageError, match=r"got lr=0\.1 without an optimizer"):
            RemoteOptimizer(perceptron(), server.address, lr=0.1)
        with pytest.raises(ConfigError, match="without a closure"):
            RemoteOptimizer(perceptron(), server.address, optimizer=torch.optim.LBFGS)
        with pytest.raises(ConfigError, match="optimizer: got 'AdamX'"):
            RemoteOptimizer(perceptron(), server.address, optimizer="AdamX")

        class Mine(torch.optim.AdamW):
            pass

        with pytest.raises(UsageError, match="code is never sent"):
            RemoteOptimizer(perceptron(), server.address, optimizer=Mine)
        model = perceptron()
        with RemoteOptimizer(model, server.address, optimizer=torch.optim.AdamW) as optimizer:
            given = iter(batches(4))
            for wrong, message in ((float("nan"), "want a finite number"), (-1.0, "Invalid learning rate: -1.0")):
                optimizer.param_groups[0]["lr"] = wrong
                with pytest.raises(UsageError, match=message):
                    stepping(model, optimizer, given)
            optimizer.param_groups[0]["lr"] = 1e-3
            stepping(model, optimizer, given)


def test_a_wrapped_optimizer_is_new_and_of_one_module() -> None:
    model = perceptron()
    stepped = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loss_of(model, batches(1)[0]).backward()
    stepped.step()
    with pytest.raises(UsageError, match="has taken steps"):
        RemoteOptimizer.wrap(stepped, "127.0.0.1:1")
    with pytest.raises(UsageError, match="modules with all of these parameters: none"):
        RemoteOptimizer.wrap(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))]), "127.0.0.1:1")
