"""Servers for loops of frameworks; what a run recorded of them."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import TensorDataset

from gradwire_common.settings.config import Config
from running import RunningServer, running_server


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., RunningServer]]:
    """Servers of exact runs for one worker each, whose optimizer is the worker's."""
    with ExitStack() as stack:

        def start(name: str = "run", **changes: Any) -> RunningServer:
            config = {
                "runs": tmp_path / "runs",
                "name": name,
                "listen": "127.0.0.1:0",
                "workers": 1,
                "rounds": 8,
                "quantizer": "float32",
                "evaluate_every": 0,
            }
            return stack.enter_context(running_server(Config.load(None, {**config, **changes}), grace=1.0))

        yield start


@pytest.fixture
def rounds_of(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """The records of a run's rounds."""

    def read(name: str = "run") -> list[dict[str, Any]]:
        lines = (tmp_path / "runs" / name / "metrics.jsonl").read_text().splitlines()
        return [entry for line in lines if (entry := json.loads(line))["kind"] == "round"]

    return read


@pytest.fixture
def points() -> TensorDataset:
    """64 points of 8 numbers in four classes."""
    draw = torch.Generator().manual_seed(1)
    return TensorDataset(torch.randn(64, 8, generator=draw), torch.randint(4, (64,), generator=draw))
