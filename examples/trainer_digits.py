"""Hugging Face's Trainer, made to train with others: what changes is marked with an arrow.

pip install 'gradwire[frameworks]'
gradwire server --workers 2 --rounds 60                     # in one terminal
python examples/trainer_digits.py 127.0.0.1:50051           # in two others
"""

import sys
import tempfile

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional
from transformers import Trainer, TrainingArguments, get_cosine_schedule_with_warmup

from gradwire import RemoteOptimizer  # <-
from gradwire.transformers import GradwireCallback  # <-


class Digits(nn.Module):
    """Two layers, called as Trainer calls models."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))

    def forward(self, pixels: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return loss and logits."""
        logits = self.layers(pixels)
        return {"loss": functional.cross_entropy(logits, labels), "logits": logits}


def main(server: str) -> None:
    """Train until the server ends the run."""
    torch.manual_seed(0)
    images, classes = load_digits(return_X_y=True)
    data = [{"pixels": x, "labels": int(y)} for x, y in zip(torch.tensor(images / 16).float(), classes, strict=True)]
    model = Digits()
    made = torch.optim.AdamW(model.parameters(), lr=1e-2)
    optimizer = RemoteOptimizer.wrap(made, server, model=model, bits=2.0)  # <-
    schedule = optimizer.schedule(lambda it: get_cosine_schedule_with_warmup(it, 5, optimizer.rounds))  # <-
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model,
            TrainingArguments(
                folder,
                max_steps=optimizer.rounds,  # <-
                per_device_train_batch_size=64,
                save_strategy="no",
                report_to="none",
                use_cpu=True,
                disable_tqdm=True,
            ),
            train_dataset=data,
            optimizers=(optimizer, schedule),
            callbacks=[GradwireCallback(optimizer)],  # <-
        )
        trainer.train()
    x, y = torch.tensor(images / 16).float(), torch.tensor(classes)
    print(f"after {trainer.state.global_step} rounds: {(model.layers(x).argmax(1) == y).float().mean():.1%} are right")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051")
