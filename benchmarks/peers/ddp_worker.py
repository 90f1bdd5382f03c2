"""One of two processes of torch's DistributedDataParallel over gloo: `ddp_worker.py RANK ADDRESS PARAMETERS ROUNDS`.

Trains the task `synthetic`, and prints the seconds of each round, one a line.
"""

import sys
import time
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from gradwire_worker.tasks.synthetic import Synthetic

PORT = 29517
PATIENCE = timedelta(minutes=30)


def main() -> None:
    """Train."""
    rank, address, parameters, rounds = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://{address}:{PORT}", rank=rank, world_size=2, timeout=PATIENCE)
    task = Synthetic(parameters)
    torch.manual_seed(0)
    model = DistributedDataParallel(task.model())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    rng = np.random.default_rng(rank)
    for _ in range(rounds):
        began = time.perf_counter()
        optimizer.zero_grad()
        task.loss(model, task.train_batch(np.arange(1), rng)).backward()
        optimizer.step()
        print(time.perf_counter() - began, flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
