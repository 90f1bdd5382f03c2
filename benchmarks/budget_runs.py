"""Budgets of real training: how much of them the pushes use, and what else would have fitted."""

import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from gradwire_common.codec.format_names import format_names
from gradwire_common.codec.formats import build_quantizer
from gradwire_common.codec.frames import encode_frame
from gradwire_common.codec.model.fit import fit_gennorm
from gradwire_common.layout.manifest import Layout
from gradwire_common.methods.entropy import Entropy
from gradwire_common.methods.method import F32, EncodeReport, Method
from gradwire_common.settings.config import Config
from gradwire_common.transport.transfer import frames_budget
from gradwire_worker.compute.flat_model import FlatModel, manifest_of
from gradwire_worker.tasks import load_task
from run_records import rounds_of

GRID = 1.01  # from one fixed quantiser to the next, of bits or of step size


def used_of_budget(rate: str, rounds: int, data: Path | None, batch_size: int = 8) -> list[float]:
    """Return budget used / allowed of every push of a run of ResNet-20, or of the digits without data."""
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--task", "cifar10", "--data", str(data)] if data else ["--task", "digits"]
        flags += ["--rounds", str(rounds), "--workers", "1", "--bits", "auto", "--rate-up", rate, "--name", "r"]
        flags += ["--transfer-seconds", "1", "--buffers-every", "10", "--evaluate-every", "0", "--runs", folder]
        flags += ["--batch-size", str(batch_size), "--threads", "1"]
        subprocess.run([sys.executable, "-m", "gradwire", "train", *flags], check=True, stdout=subprocess.DEVNULL)
        return [record["spent"] / record["budget"] for record in rounds_of(Path(folder) / "r")]


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


def nmse_at_budget(flat: FlatModel, gradients: Sequence[F32], budget: int) -> tuple[float, float, str]:
    """Return the mean NMSE of pushes that fit `budget` (wire bytes), that of the best fixed quantiser, and its name.

    Fixed are: the quantisers whose levels follow from the fit alone; the uniform one with as many bits for each tensor,
    from each gradient's fits; the uniform one with one step size for all gradients, in their units. Bits and step sizes
    are GRID apart. A fixed quantiser fits if none of the gradients takes more than the budget.
    """
    room = frames_budget(budget, 16 << 10)
    residual, steps, ours = np.zeros_like(gradients[0]), [], []
    encoder = Entropy(bits="auto").encoder(flat.layout, residual)
    for gradient in gradients:
        report = EncodeReport()
        list(encoder.encode(gradient, report, room))
        ours.append(_nmse(residual, gradient))
        steps.append(report.step)
    names = [name for name in format_names() if name != "uniform"]
    coders = {name: _coder(flat.layout, Entropy(quantizer=name)) for name in names}
    for bits in _around(8 * room / flat.layout.n_parameters, 0.75, 1.1):
        coders[f"{bits:.3f} bits for each tensor"] = _coder(flat.layout, Entropy(bits=bits, allocation="per-tensor"))
    for step in _around(float(np.median(steps)), 0.8, 1.6):
        coders[f"step size {step:.3g}"] = _stepper(flat.layout, step)
    best = (1.0, "nothing")
    for name, coder in coders.items():
        losses = []
        for gradient in gradients:
            if coder(gradient, residual) > room:
                break
            losses.append(_nmse(residual, gradient))
        else:
            best = min(best, (float(np.mean(losses)), name))
    return float(np.mean(ours)), *best


def _around(middle: float, least: float, most: float) -> Iterator[float]:
    """Yield numbers from `least` to `most` times `middle`, each GRID times the one before."""
    n = math.ceil(math.log(most / least) / math.log(GRID))
    return (middle * least * GRID**k for k in range(n + 1))


def _coder(layout: Layout, method: Method) -> Callable[[F32, F32], int]:
    return lambda values, lost: sum(map(len, method.encoder(layout, lost).encode(values, EncodeReport())))


def _stepper(layout: Layout, step: float) -> Callable[[F32, F32], int]:
    def size(values: F32, lost: F32) -> int:
        quantizer = build_quantizer("uniform", step=step)
        n_bytes = 0
        for unit in layout.parameters:
            part = values[unit.place]
            n_bytes += len(encode_frame(part, quantizer, fit_gennorm(part), residual=lost[unit.place]))
        return n_bytes

    return size


def _nmse(lost: F32, values: F32) -> float:
    return float(np.square(lost, dtype=np.float64).sum() / np.square(values, dtype=np.float64).sum())
