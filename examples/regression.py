"""A regression: an MLP, mean squared errors by name, batches of a sampler that knows this worker's shard.

gradwire server --workers 2 --rounds 60                     # in one terminal
python examples/regression.py 127.0.0.1:50051               # in two others

What makes the loop train with others is marked with an arrow.
"""

import sys

import torch
from sklearn.datasets import load_diabetes
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from gradwire import RemoteOptimizer, ShardSampler  # <-

BATCH = 32
N_TEST = 92


def main(server: str) -> None:
    """Train until the server ends the run."""
    torch.manual_seed(0)
    x, y = (torch.tensor(each, dtype=torch.float32) for each in load_diabetes(return_X_y=True))
    order = torch.randperm(len(x))
    x, y = ((each - each.mean(0)) / each.std(0) for each in (x[order], y[order, None]))
    data = TensorDataset(x[N_TEST:], y[N_TEST:])
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 1))

    adam = torch.optim.Adam(model.parameters(), lr=2e-3)
    with RemoteOptimizer.wrap(adam, server, model=model, bits=4.0) as optimizer:  # <- the server steps it
        sampler = ShardSampler(data, optimizer, batch_size=BATCH)  # <- this worker's part, shuffled each epoch
        loader = DataLoader(data, batch_size=BATCH, sampler=sampler, drop_last=True)
        while not optimizer.ended:  # <- was for epoch in range(...)
            for inputs, targets in loader:
                optimizer.zero_grad()
                loss = functional.mse_loss(model(inputs), targets)
                loss.backward()
                optimizer.step(samples=len(inputs), loss=loss)  # <- pushes the gradient, waits, loads the new weights
                due = optimizer.evaluate_every and optimizer.version % optimizer.evaluate_every == 0
                if due or optimizer.ended:
                    mine = slice(optimizer.slot, N_TEST, optimizer.slots)  # <- each worker tests its part
                    with torch.no_grad():
                        error = model(x[mine]) - y[mine]
                    mse, mae = error.square().mean(), error.abs().mean()
                    optimizer.report(len(error), mse=mse, mae=mae)  # <- merged over all workers, shown by name
                    print(f"version {optimizer.version}: mse {mse:.3f}, mae {mae:.3f}")
                if optimizer.ended:  # <-
                    break


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051")
