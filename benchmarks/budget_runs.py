"""Budgets of real training: how much of them the pushes use, and what else would have fitted."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from gradwire_common.budget import BudgetEncoder
from gradwire_common.config import Config
from gradwire_common.method import QUANTIZER_NAMES, Method
from gradwire_common.transfer import frames_budget
from gradwire_common.update import F32, UpdateEncoder
from gradwire_worker.gradients import FlatModel, manifest_of
from gradwire_worker.tasks import load_task

FIXED_BITS = (0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 4)  # of the uniform quantiser with a step fixed beforehand


def used_of_budget(rate: str, rounds: int, data: Path | None, batch_size: int = 32) -> list[float]:
    """Return budget used / allowed of every push of a run of ResNet-20, or of the digits without data."""
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--task", "cifar10", "--data", str(data)] if data else ["--task", "digits"]
        flags += ["--rounds", str(rounds), "--workers", "1", "--bits", "auto", "--rate-up", rate, "--name", "r"]
        flags += ["--transfer-seconds", "1", "--buffers-every", "10", "--evaluate-every", "0", "--runs", folder]
        flags += ["--batch-size", str(batch_size)]
        subprocess.run([sys.executable, "-m", "gradwire", "train", *flags], check=True, stdout=subprocess.DEVNULL)
        lines = map(json.loads, (Path(folder) / "r" / "metrics.jsonl").read_text().splitlines())
        return [line["spent"] / line["budget"] for line in lines if line["kind"] == "round"]


def gradients(data: Path, n: int, seed: int = 0) -> tuple[FlatModel, Iterator[F32]]:
    """Return the model and `n` gradients of ResNet-20 on CIFAR-10, some steps of SGD apart."""
    task = load_task(Config(task="cifar10", data=data))
    torch.manual_seed(seed)
    model = task.model()
    flat = FlatModel(model, manifest_of(model))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    rng = np.random.default_rng(seed)

    def steps() -> Iterator[F32]:
        for _ in range(n):
            for _ in range(3):
                optimizer.zero_grad()
                task.loss(model, task.train_batch(rng.integers(task.n_train, size=32), rng)).backward()
                optimizer.step()
            gradient = np.zeros(flat.layout.n_parameters, np.float32)
            flat.read_gradients(gradient)
            yield gradient

    return flat, steps()


def nmse_at_budget(flat: FlatModel, gradient: F32, budget: int) -> tuple[float, float, str]:
    """Return the NMSE of the push that fits `budget` (wire bytes), and that of the best fixed quantiser that fits.

    Fixed are every quantiser but the uniform, whose step comes from the fit alone; and the uniform one at FIXED_BITS,
    with as many bits for each tensor. The name of the best is the last; "nothing" where none fits.
    """
    room = frames_budget(budget, 16 << 10)
    residual = np.zeros_like(gradient)
    power = float(np.square(gradient, dtype=np.float64).sum())

    def nmse() -> float:
        return float(np.square(residual, dtype=np.float64).sum()) / power

    BudgetEncoder(UpdateEncoder(flat.layout, Method())).encode(gradient, residual, room)
    ours, best = nmse(), (1.0, "nothing")
    methods = {name: Method(quantizer=name) for name in QUANTIZER_NAMES if name != "uniform"}
    methods |= {f"uniform, {bits} bits": Method(bits=bits, allocation="per-tensor") for bits in FIXED_BITS}
    for name, method in methods.items():
        size = sum(map(len, UpdateEncoder(flat.layout, method).encode(gradient, residual)))
        if size <= room:
            best = min(best, (nmse(), name))
    return ours, *best
