"""Torch's global switches, around joining or stepping, change nothing in what is trained."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from gradwire_worker.checkpoint.weights_file import load_weights
from gradwire_worker.coding import Coding
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.session import SessionOptions
from gradwire_worker.sources.during_backward import DuringBackward
from gradwire_worker.sources.in_step import InStep
from gradwire_worker.sources.local_steps import LocalSteps
from running import running_server
from worker.toys import assert_same_state, batches, loss_of, normalized, server_config, state_of

Switch = Callable[[], AbstractContextManager[object]]
DATA = batches(4, (1, 8, 8))


@contextmanager
def default_device_meta() -> Iterator[None]:
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def deterministic_algorithms() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


SWITCHES: dict[str, Switch] = {
    "default device meta": default_device_meta,
    "device context meta": lambda: torch.device("meta"),
    "default dtype float64": lambda: default_dtype(torch.float64),
    "default dtype bfloat16": lambda: default_dtype(torch.bfloat16),
    "inference mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "enable_grad": torch.enable_grad,
    "anomaly detection": lambda: torch.autograd.detect_anomaly(check_nan=False),
    "deterministic algorithms": deterministic_algorithms,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
}
OFTEN = ("default device meta", "default dtype float64", "inference mode")
LOCAL = {"source": LocalSteps(2, "SGD", lr=0.1, options={"momentum": 0.9})}
WAYS: dict[str, dict[str, object]] = {
    "plain": {},
    "overlap": {"source": DuringBackward()},
    "delay": {"source": InStep(delay=1)},
    "local steps": LOCAL,
    "two bits": {"bits": 2.0},
    "transform": {"coding": Coding(transform="dct")},
}


def train(runs: Path, joining: Switch, stepping: list[Switch], **settings: object) -> dict[str, torch.Tensor]:
    """Train under switches that are on while joining, and by turns while stepping; return what comes of it."""
    model = normalized()
    coding = {"transform": "dct", "quantizer": "lossless"} if "coding" in settings else {}
    with running_server(server_config(runs, rounds=len(DATA), buffers_every=1, **coding)) as server:
        with joining():
            optimizer = RemoteOptimizer(
                model,
                server.address,
                state=runs / "state",
                session=SessionOptions(worker_id="w", patience=60),
                **settings,
            )
        for i, batch in enumerate(DATA):
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            with stepping[i % len(stepping)]():
                optimizer.step(samples=8)
        with stepping[0]():
            state = optimizer.state_dict()
            optimizer.load_state_dict(state)
        assert state["residual"].device.type == "cpu"
        assert state["residual"].dtype is torch.float32
        optimizer.leave()
    return state_of(model)


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> dict[str, dict[str, torch.Tensor]]:
    plain = contextlib.nullcontext
    return {way: train(tmp_path_factory.mktemp("plain"), plain, [plain], **WAYS[way]) for way in WAYS}


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
@pytest.mark.parametrize(
    ("way", "switch"),
    [(way, switch) for way in WAYS for switch in (SWITCHES if way in ("plain", "local steps") else OFTEN)],
)
def test_a_switch_changes_nothing(tmp_path, expected, way, switch):
    off, on = contextlib.nullcontext, SWITCHES[switch]
    assert_same_state(train(tmp_path, on, [on, off], **WAYS[way]), expected[way])


def test_a_closure_computes_gradients_under_any_switch(tmp_path):
    models = [normalized(), normalized()]
    for runs, model, switch in zip(
        ("a", "b"), models, (contextlib.nullcontext, SWITCHES["inference mode"]), strict=True
    ):
        with (
            running_server(server_config(tmp_path / runs)) as server,
            RemoteOptimizer(model, server.address) as optimizer,
        ):

            def closure(model: nn.Module = model, optimizer: RemoteOptimizer = optimizer) -> torch.Tensor:
                optimizer.zero_grad()
                loss = loss_of(model, DATA[0])
                loss.backward()
                return loss

            with switch():
                optimizer.step(closure)
    assert_same_state(state_of(models[1]), state_of(models[0]))


@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
def test_weights_load_under_a_switch(tmp_path, switch):
    model, other = normalized(), normalized(seed=1)
    save_file(state_of(model), tmp_path / "weights.safetensors")
    with SWITCHES[switch]():
        load_weights(other, tmp_path / "weights.safetensors")
    assert_same_state(state_of(other), state_of(model))
