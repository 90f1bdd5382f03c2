"""accelerate as it is: two workers to the end, accumulation, its own checkpoints."""

import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from gradwire import RemoteOptimizer, SessionOptions
from worker.toys import assert_same_state, loss_of, state_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    accelerate = pytest.importorskip("accelerate", reason="pip install 'gradwire[frameworks]'")

pytestmark = pytest.mark.filterwarnings("ignore")
EXAMPLE = Path(__file__).parents[2] / "examples" / "accelerate_digits.py"


def test_two_workers_train_to_the_end_and_leave_quietly(serve: Any, rounds_of: Any, tmp_path: Path) -> None:
    server = serve(workers=2, rounds=12, quantizer="uniform")
    command = [sys.executable, str(EXAMPLE), server.address]
    workers = [subprocess.Popen(command, stdout=-1, stderr=-1, text=True, cwd=tmp_path) for _ in range(2)]
    try:
        said = [worker.communicate(timeout=200) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0], said
    assert not any("Traceback" in errors or "Error" in errors for _, errors in said), said
    assert len({re.search(r"version 12: ([\d.]+)% are right", out)[1] for out, _ in said}) == 1  # the same weights
    server.join()
    assert {record["samples"] for record in rounds_of()} == {128}  # two workers, two batches of 32 each


def test_a_state_of_accelerates_is_loaded_and_the_weights_stay_the_runs(
    serve: Any, rounds_of: Any, points: Any, tmp_path: Path
) -> None:
    server = serve(rounds=4)

    def made(seed: int) -> Any:
        torch.manual_seed(seed)
        model = nn.Linear(8, 4)
        adamw = torch.optim.AdamW(model.parameters(), lr=0.01)
        session = SessionOptions(worker_id="w")
        remote = RemoteOptimizer.wrap(adamw, server.address, model=model, session=session)
        accelerator = accelerate.Accelerator(cpu=True)
        return accelerator, remote, *accelerator.prepare(model, remote, DataLoader(points, batch_size=16))

    def steps(n: int, accelerator: Any, remote: Any, model: Any, optimizer: Any, loader: Any) -> None:
        schedule = accelerator.prepare(remote.schedule(lambda it: torch.optim.lr_scheduler.ExponentialLR(it, 0.5)))
        for _, batch in zip(range(n), loader, strict=False):
            accelerator.backward(loss_of(model, batch))
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()

    accelerator, remote, *parts = made(0)
    accelerator.save_state(str(tmp_path / "state"))
    steps(2, accelerator, remote, *parts)
    held = state_of(parts[0])
    remote.leave()
    accelerator, remote, *parts = made(1)
    accelerator.load_state(str(tmp_path / "state"))  # with the weights of version 0
    assert remote.version == 2
    assert_same_state(state_of(parts[0]), held)
    with remote:
        steps(2, accelerator, remote, *parts)
    assert remote.ended
    server.join()
    assert [record["learning_rate"] for record in rounds_of()] == [0.01, 0.005, 0.0025, 0.00125]
