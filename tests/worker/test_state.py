"""A worker that was killed and started again under its id continues as if nothing had happened."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gradwire_common.errors import CheckpointError
from gradwire_worker.checkpoint.state import Pushed, WorkerState
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.session import SessionOptions
from gradwire_worker.sources.during_backward import DuringBackward
from gradwire_worker.sources.frame_source import Source
from gradwire_worker.sources.in_step import InStep
from running import running_server
from worker.toys import assert_same_state, batches, normalized, server_config, state_of, take_step

STEPS = 7
SAMPLES = batches(STEPS, (1, 8, 8))
SETTINGS = {"quantizer": "uniform", "bits": 1.0, "buffers_every": 4, "optimizer_options": {"momentum": 0.9}}


def train(model: torch.nn.Module, optimizer: RemoteOptimizer, steps: int) -> None:
    while optimizer.next_round <= steps:
        images, classes = SAMPLES[optimizer.next_round - 1]
        take_step(model, optimizer, (torch.nn.functional.dropout(images, 0.2), classes), samples=8)


def undisturbed(folder: Path, source: Source) -> dict[str, torch.Tensor]:
    model = normalized()
    with (
        running_server(server_config(folder, **SETTINGS)) as server,
        RemoteOptimizer(model, server.address, source=source) as optimizer,
    ):
        torch.manual_seed(3)
        train(model, optimizer, STEPS)
    return state_of(model)


@pytest.mark.parametrize("killed_after", [3, 4, 5])
@pytest.mark.parametrize("source", [InStep(), DuringBackward(), InStep(delay=1), DuringBackward(delay=1)], ids=str)
def test_a_restarted_worker_goes_on_with_the_same_bits(tmp_path: Path, killed_after: int, source: Source) -> None:
    model, again = normalized(), normalized(seed=9)
    with running_server(server_config(tmp_path / "runs", **SETTINGS)) as server:
        with RemoteOptimizer(
            model, server.address, state=tmp_path, source=source, session=SessionOptions(worker_id="a")
        ) as optimizer:
            torch.manual_seed(3)
            train(model, optimizer, killed_after)
        torch.manual_seed(99)
        with RemoteOptimizer(
            again, server.address, state=tmp_path, source=source, session=SessionOptions(worker_id="a")
        ) as optimizer:
            assert (optimizer.resumed, optimizer.next_round) == (killed_after, killed_after + 1)
            assert optimizer.version == killed_after - source.delay
            train(again, optimizer, STEPS)
    assert_same_state(state_of(again), undisturbed(tmp_path / "other", source))


def test_a_state_of_another_run_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for folder in ("first", "second"):
        model = normalized()
        with (
            running_server(server_config(tmp_path / folder)) as server,
            RemoteOptimizer(model, server.address, state=tmp_path, session=SessionOptions(worker_id="a")) as optimizer,
        ):
            assert optimizer.resumed == 0
            train(model, optimizer, 1)
    assert "a.worker is of another run and left out" in caplog.text


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.worker"
    assert WorkerState.load(file) is None
    pushed = Pushed("run", 1, 2, False, "entries", 0.5)
    WorkerState(pushed, b"frames", np.ones(3, np.float32), np.zeros(0, np.float32)).save(file)
    loaded = WorkerState.load(file)
    assert loaded is not None
    assert (loaded.pushed, loaded.frames) == (pushed, b"frames")
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(CheckpointError, match=r"a\.worker: got checksum"):
        WorkerState.load(file)
    file.write_bytes(b"nothing of the kind")
    with pytest.raises(CheckpointError, match=r"a\.worker: cannot be read"):
        WorkerState.load(file)
