"""Record the gradients of ResNet-20 on CIFAR-10 at some steps of its training, for bench_codec.py.

python benchmarks/gradients.py --data PATH [--out FILE] [--steps 0 50 200]
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch

from gradwire_common.errors import TaskError
from gradwire_common.settings.config import Config
from gradwire_worker.tasks.load import load_task
from gradwire_worker.tasks.task import Task

BATCH = 128  # samples
LEARNING_RATE_MAX = 0.2  # SGD with momentum 0.9, one cycle
SEED = 1


def main() -> None:
    """Record what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="CIFAR-10, as `gradwire train --data` takes it")
    parser.add_argument("--out", type=Path, default=Path("gradients.npz"), help="file to write (default %(default)s)")
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 50, 200], help="steps to record (default 0 50 200)")
    options = parser.parse_args()
    if options.data is None:
        print("skipped: no data; --data names a folder or file of CIFAR-10")
        return
    try:
        task = load_task(Config(task="cifar10", model="resnet20", data=options.data))
    except TaskError as error:
        raise SystemExit(str(error)) from None
    gradients = record(task, sorted(options.steps))
    np.savez(options.out, **gradients)
    print(f"{len(gradients)} gradients of {sum(g.size for g in gradients.values())} entries in {options.out}")


def record(task: Task, steps: list[int]) -> dict[str, np.ndarray]:
    """Train `task` and return its gradients at `steps`, ascending, by "step/parameter", float32."""
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    model = task.model()
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE_MAX, momentum=0.9, weight_decay=5e-4)
    n_steps = max(steps[-1] + 1, 2 * math.ceil(task.n_train / BATCH))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE_MAX, total_steps=n_steps)
    gradients: dict[str, np.ndarray] = {}
    for step in range(steps[-1] + 1):
        batch = task.train_batch(rng.choice(task.n_train, BATCH, replace=False), rng)
        optimizer.zero_grad()
        task.loss(model, batch).backward()
        if step in steps:
            gradients |= {f"{step}/{name}": p.grad.numpy().copy() for name, p in model.named_parameters()}
        optimizer.step()
        schedule.step()
    return gradients


if __name__ == "__main__":
    main()
