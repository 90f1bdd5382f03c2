"""A training loop of one's own, made to train with others: what changes is marked with an arrow.

gradwire server --workers 2 --rounds 100                    # in one terminal
python examples/own_loop.py 127.0.0.1:50051                 # in two others
"""

import sys

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional
from torch.optim import lr_scheduler

from gradwire import RemoteOptimizer  # <-


def warm_up_and_cosine(optimizer: torch.optim.Optimizer, steps: int) -> lr_scheduler.LRScheduler:
    """Return a schedule of torch's: ten steps up, then half a cosine down."""
    warm = lr_scheduler.LinearLR(optimizer, 0.1, total_iters=10)
    cosine = lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps - 10))
    return lr_scheduler.SequentialLR(optimizer, [warm, cosine], [10])


def main(server: str) -> None:
    """Train until the server ends the run."""
    torch.manual_seed(0)
    images, classes = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(classes)
    test = slice(0, 360)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))

    adamw = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.01)
    with RemoteOptimizer.wrap(adamw, server, model=model, bits=2.0) as optimizer:  # <- the server steps it
        schedule = optimizer.schedule(lambda it: warm_up_and_cosine(it, optimizer.rounds))  # <- at the run's version
        mine = torch.arange(360 + optimizer.slot, len(x), optimizer.slots)  # <- this worker's part of the samples
        batches = torch.Generator().manual_seed(optimizer.slot)
        while not optimizer.ended:  # <- was for epoch in range(...)
            batch = mine[torch.randint(len(mine), (64,), generator=batches)]
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x[batch]), y[batch])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step(samples=len(batch), loss=loss)  # <- pushes the gradient, waits, loads the new weights
            schedule.step()

    right = (model(x[test]).argmax(1) == y[test]).float().mean()
    print(f"version {optimizer.version}: {right:.1%} of the test images are right")


if __name__ == "__main__":
    main(sys.argv[1])
