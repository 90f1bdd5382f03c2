"""A loop with accelerate, made to train with others: what changes is marked with an arrow.

pip install 'gradwire[frameworks]'
gradwire server --workers 2 --rounds 60                     # in one terminal
python examples/accelerate_digits.py 127.0.0.1:50051        # in two others
"""

import sys

import torch
from accelerate import Accelerator
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from gradwire import RemoteOptimizer  # <-


def main(server: str) -> None:
    """Train until the server ends the run."""
    torch.manual_seed(0)
    images, classes = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images / 16, dtype=torch.float32), torch.tensor(classes))
    loader = DataLoader(data, batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    made = torch.optim.AdamW(model.parameters(), lr=1e-2)
    remote = RemoteOptimizer.wrap(made, server, model=model, bits=2.0)  # <-
    remote.count_samples()  # <-
    schedule = remote.schedule(lambda it: torch.optim.lr_scheduler.CosineAnnealingLR(it, remote.rounds))  # <-

    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    model, optimizer, loader, schedule = accelerator.prepare(model, remote, loader, schedule)
    with remote:  # <-
        while not remote.ended:  # <- was for epoch in range(...)
            for x, y in loader:
                with accelerator.accumulate(model):
                    accelerator.backward(functional.cross_entropy(model(x), y))
                    optimizer.step()
                    schedule.step()
                    optimizer.zero_grad()
                if remote.ended:  # <-
                    break

    x, y = data.tensors
    print(f"version {remote.version}: {(model(x).argmax(1) == y).float().mean():.1%} are right")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051")
