"""Every published method trains the digits over gRPC by its name, and no bytes whatever make its frames crash."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradwire_common.errors import BitstreamError, ConfigError
from gradwire_common.layout.manifest import Layout, TensorSpec
from gradwire_common.methods.envelope import opened, sealed
from gradwire_common.methods.method import EncodeReport
from gradwire_common.methods.registry import build_method
from gradwire_common.methods.update import check_update
from gradwire_common.settings.config import Config
from gradwire_worker.runner import run_worker
from running import running_server

LOCAL = {"rounds": 15, "evaluate_every": 15, "local_steps": 4, "local_lr": 0.05, "lr": 1.0, "optimizer_options": {}}
RUNS: dict[str, dict[str, Any]] = {  # settings beside the method's own; what it is made for
    "topk": {"method_options": {"density": 0.02}, "gamma": 1.0},
    "sparseloco": {**LOCAL, "aggregation": "senders_mean"},
    "signsgd": {},
    "qsgd": {"optimizer_options": {"momentum": 0.9}},
    "dgc": {"method_options": {"density": 0.05}, "optimizer_options": {}, "lr": 0.3},
    "powersgd": {"lr": 0.2},
    "demo": {"lr": 0.003, "optimizer_options": {}, "aggregation": "senders_mean"},
    "cocktail": {"rounds": 60, "evaluate_every": 60, "optimizer_options": {}, "lr": 0.2},
    "diloco": {**LOCAL, "bits": 8},
    "muloco": {**LOCAL, "optimizer": "DiLoCo", "aggregation": "radial_mean"},
    "eden": {"bits": 1},
    "co3": {"rounds": 60, "evaluate_every": 60},
    "m22": {},
    "onebit": {},
    "tinyscript": {},
    "countsketch": {
        "method_options": {"density": 0.1, "cells": 4.0},
        "optimizer_options": {},
        "lr": 0.5,
        "rounds": 60,
        "evaluate_every": 60,
    },
    "tcq": {"method_options": {"density": 0.2}, "rounds": 60, "evaluate_every": 60},
}
MORE_OF_THE_SAME = ("signsgd", "qsgd", "dgc", "diloco")  # as the others, up to what their theorems are of
LAYOUT = Layout([TensorSpec("w", (96, 64)), TensorSpec("b", (96,)), TensorSpec("s", ())])


@pytest.fixture
def _deterministic():
    """Put back what a worker process settles for good."""
    yield
    torch.use_deterministic_algorithms(False)


def train(runs: Path, **settings: Any) -> list[dict[str, Any]]:
    """Run a server and a worker; return what they left of rounds and evaluations."""
    common = {
        "runs": runs,
        "workers": 1,
        "rounds": 30,
        "evaluate_every": 30,
        "batch_size": 64,
        "threads": 1,
        **settings,
    }
    with running_server(Config.load(None, {**common, "listen": "127.0.0.1:0"})) as server:
        run_worker(Config.load(None, {**common, "server": server.address, "device": "cpu"}))
        server.join()
    return [json.loads(line) for line in (runs / "run" / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.usefixtures("_deterministic")
@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=[pytest.mark.long] if name in MORE_OF_THE_SAME else []) for name in RUNS]
)
def test_the_digits_are_learned(tmp_path: Path, method: str) -> None:
    lines = train(tmp_path, method=method, **RUNS[method])
    losses = [line["loss"] for line in lines if line["kind"] == "round"]
    accuracy = next(line for line in lines if line["kind"] == "evaluation")["metrics"]["accuracy"]["mean"]
    print(f"{method}: loss {losses[0]:.2f} to {losses[-1]:.2f}, accuracy {accuracy:.3f}")
    assert accuracy > 0.5


@pytest.mark.parametrize("name", RUNS)
def test_frames_of_any_bytes_are_read_or_refused(name: str) -> None:
    method = build_method(name, {})
    unit = LAYOUT.parameters[0]
    u = np.random.default_rng(0).laplace(size=LAYOUT.n_parameters).astype(np.float32)
    frame = next(method.encoder(LAYOUT, np.zeros_like(u)).encode(u, EncodeReport()))
    for cut in range(0, len(frame), 7):
        with pytest.raises(BitstreamError, match=f"frame of {unit.tensors[0].name}"):
            check_update(frame[:cut], [unit], method)
    body = bytes(opened(frame, method.number))  # type: ignore[attr-defined]

    @given(st.binary(max_size=200), st.integers(0, len(body)), st.integers(0, 40))
    def read(data: bytes, start: int, skip: int) -> None:
        damaged = body[:start] + data + body[start + skip :]
        with suppress(BitstreamError):
            assert method.check(sealed(method.number, damaged), unit) >= 0  # type: ignore[attr-defined]

    read()


def test_a_wrong_option_and_a_frame_of_another_method_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="densty: unknown option of method topk"):
        build_method("topk", {"densty": 0.1})
    with pytest.raises(ConfigError, match="density"):
        build_method("topk", {"density": 0})
    with pytest.raises(ConfigError, match=r"method_options\.k: "):
        assert Config.load(None, {"method": "sparseloco", "method_options": {"k": 0}}).uplink
    families = [build_method("sparseloco", options).family for options in ({}, {"k": 32}, {"gamma": 0.9})]
    assert families[0] == families[2] != families[1]  # a worker with another k cannot push to this one's run
    u = np.ones(LAYOUT.n_parameters, np.float32)
    data = b"".join(build_method("topk", {}).encoder(LAYOUT).encode(u, EncodeReport()))
    with pytest.raises(BitstreamError, match="frame of w: frame begins with b'a', want b'b'"):
        check_update(data, LAYOUT.parameters, build_method("sparseloco", {}))
