"""A federated client: data of its own, uneven by class, local steps, and a turn every other round.

gradwire server --workers 4 --sampled 2 --rounds 60 --local-steps 8 --local-lr 0.2 --batch-size 16 --bits 1  # first
for client in 1 2 3 4; do python examples/federated_digits.py 127.0.0.1:50051 & done; wait  # then

What a client must know stands at the server: it asks for it. docs/federated.md walks through this file.
"""

import sys
from itertools import chain, repeat

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from gradwire import LocalSteps, RemoteOptimizer, ShardSampler, dirichlet_shards, server_settings

N_TEST = 360


def main(server: str) -> None:
    """Train until the server ends the run."""
    images, classes = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(classes)
    data = TensorDataset(x[N_TEST:], y[N_TEST:])
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))

    told = server_settings(server)  # what the server hands to all clients
    steps, rate, batch = int(told["local_steps"]), float(told["local_lr"]), int(told["batch_size"])
    with RemoteOptimizer(model, server, source=LocalSteps(steps, lr=rate)) as optimizer:
        shards = dirichlet_shards(y[N_TEST:], optimizer.slots, alpha=0.3)  # the same on every client
        sampler = ShardSampler(data, optimizer, batch_size=batch, shards=shards)
        loader = DataLoader(data, batch_size=batch, sampler=sampler)
        mine = slice(optimizer.slot, N_TEST, optimizer.slots)  # this client's part of the test images
        for inputs, labels in chain.from_iterable(repeat(loader)):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step(samples=len(inputs), loss=loss)  # every eighth waits for the round, and for the next turn
            if optimizer.evaluation_due():
                right = (model(x[mine]).argmax(1) == y[mine]).float().mean()
                optimizer.report(len(y[mine]), accuracy=right)
            if optimizer.ended:
                break

    counts = torch.bincount(y[N_TEST:][torch.from_numpy(sampler.indices)], minlength=10).tolist()
    right = (model(x[:N_TEST]).argmax(1) == y[:N_TEST]).float().mean()
    print(f"client {optimizer.slot}: images by class {counts}")
    print(f"client {optimizer.slot}: version {optimizer.version}, {right:.1%} of the test images are right")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051")
