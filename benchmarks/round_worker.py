"""A worker for bench_round.py: the synthetic task's gradients, one RemoteOptimizer step a round.

    python benchmarks/round_worker.py ADDRESS SLOT PARAMETERS [DELAY]

It prints the time (seconds of the monotonic clock) after every step.
"""

import sys
import time

import torch

from gradwire import RemoteOptimizer
from gradwire_worker.session import SessionOptions
from gradwire_worker.sources.in_step import InStep
from gradwire_worker.tasks.synthetic import Synthetic


def main() -> None:
    """Step until the run ends."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    source = InStep(int(sys.argv[4]) if len(sys.argv) > 4 else 0)
    task = Synthetic(int(sys.argv[3]))
    model = task.model()
    strength = torch.tensor(1.0)
    session = SessionOptions(slot=int(sys.argv[2]))
    with RemoteOptimizer(model, sys.argv[1], session=session, source=source) as optimizer:
        while not optimizer.ended:
            optimizer.zero_grad()
            loss = task.loss(model, (strength,))
            loss.backward()
            optimizer.step(loss=loss)
            print(time.monotonic(), flush=True)
            print(optimizer.last_step, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
