"""A Lightning module, made to train with others: what changes is marked with an arrow.

pip install 'gradwire[frameworks]'
gradwire server --workers 2 --rounds 60                     # in one terminal
python examples/lightning_digits.py 127.0.0.1:50051         # in two others
"""

import sys
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from gradwire import RemoteOptimizer  # <-
from gradwire.lightning import GradwireCallback  # <-


class Digits(LightningModule):
    """Two layers, AdamW, one cycle."""

    def __init__(self, server: str) -> None:
        super().__init__()
        self.server = server
        self.layers = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:  # noqa: ARG002
        """Return the loss of a batch."""
        x, y = batch
        loss = functional.cross_entropy(self.layers(x), y)
        self.log("loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> Any:
        """Return the optimizer, on the server, and its schedule, stepped every round."""
        made = torch.optim.AdamW(self.parameters(), lr=3e-3)
        optimizer = RemoteOptimizer.wrap(made, self.server, model=self, bits=2.0)  # <-
        schedule = optimizer.schedule(  # <- at the run's version
            lambda it: torch.optim.lr_scheduler.OneCycleLR(it, max_lr=1e-2, total_steps=optimizer.rounds + 1)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def main(server: str) -> None:
    """Train until the server ends the run."""
    seed_everything(0)
    images, classes = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images / 16, dtype=torch.float32), torch.tensor(classes))
    model = Digits(server)
    trainer = Trainer(
        max_epochs=-1,  # <- until the run ends
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        callbacks=[GradwireCallback()],  # <-
    )
    trainer.fit(model, DataLoader(data, batch_size=64, shuffle=True))
    x, y = data.tensors
    print(f"after {trainer.global_step} rounds: {(model.layers(x).argmax(1) == y).float().mean():.1%} are right")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051")
