"""A byte-level GPT on the source of Python's standard library: AdamW, warm-up and cosine, perplexity by name.

gradwire server --workers 2 --rounds 500                    # in one terminal
python examples/gpt.py 127.0.0.1:50051                      # in two others

What makes the loop train with others is marked with an arrow.
"""

import argparse
import math
import sysconfig
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from gradwire import Metric, RemoteOptimizer  # <-

TEST_BYTES = 65_536


class Block(nn.Module):
    """Causal attention, then an MLP, each added to what came in."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, context, width) for the same."""
        q, k, v = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(self.before_attention(x)).chunk(3, dim=2)
        )
        x = x + self.out(functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return x + self.mlp(self.before_mlp(x))


class GPT(nn.Module):
    """Predicts each next byte."""

    def __init__(self, width: int, depth: int, context: int):
        super().__init__()
        self.bytes, self.places = nn.Embedding(256, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, max(1, width // 32)) for _ in range(depth)))
        self.last = nn.LayerNorm(width)

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        """Return logits, (batch, context, 256), for bytes, (batch, context)."""
        x = self.bytes(text) + self.places.weight[: text.shape[1]]
        return self.last(self.blocks(x)) @ self.bytes.weight.T / math.sqrt(self.bytes.weight.shape[1])


def loss_of(model: nn.Module, text: torch.Tensor) -> torch.Tensor:
    """Return the mean loss a byte of `text`, (batch, context + 1)."""
    return functional.cross_entropy(model(text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())


def groups_of(model: nn.Module) -> list[dict]:
    """Return matrices, which decay, and all else, which does not."""
    return [
        {"params": [each for each in model.parameters() if each.ndim > 1]},
        {"params": [each for each in model.parameters() if each.ndim < 2], "weight_decay": 0.0},
    ]


def warm_up_and_cosine(step: int, steps: int) -> float:
    """Return the factor of the learning rate: up for a tenth of the steps, then half a cosine down to a tenth."""
    warm = max(1, steps // 10)
    return min((step + 1) / warm, 0.55 + 0.45 * math.cos(math.pi * min(1, max(0, step - warm) / max(1, steps - warm))))


def main(options: argparse.Namespace) -> None:
    """Train until the server ends the run."""
    torch.manual_seed(0)
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    text = torch.frombuffer(bytearray(b"".join(each.read_bytes() for each in files)), dtype=torch.uint8).long()
    length = options.context + 1
    train, test = text[:-TEST_BYTES], text[-TEST_BYTES:].unfold(0, length, length)
    model = GPT(options.width, options.depth, options.context)

    adamw = torch.optim.AdamW(groups_of(model), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.1)
    with RemoteOptimizer.wrap(adamw, options.server, model=model, bits=2.0) as optimizer:  # <- the server steps it
        schedule = optimizer.schedule(  # <- at the run's version
            lambda it: torch.optim.lr_scheduler.LambdaLR(it, lambda step: warm_up_and_cosine(step, optimizer.rounds))
        )
        draw = torch.Generator().manual_seed(1 + optimizer.slot)  # <- each worker draws samples of its own
        while not optimizer.ended:  # <- was for step in range(...)
            starts = torch.randint(len(train) - length, (options.batch,), generator=draw)
            optimizer.zero_grad()
            loss = loss_of(model, torch.stack([train[at : at + length] for at in starts]))
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step(samples=options.batch, loss=loss)  # <- pushes the gradient, waits, loads the new weights
            schedule.step()
            due = optimizer.evaluate_every and optimizer.version % optimizer.evaluate_every == 0
            if due or optimizer.ended:
                mine = test[optimizer.slot :: optimizer.slots]  # <- each worker tests its part
                with torch.no_grad():
                    nll = sum(float(loss_of(model, part)) * part[:, 1:].numel() for part in mine.split(64))
                measured = Metric.perplexity(nll, mine[:, 1:].numel())
                optimizer.report(measured.count, perplexity=measured)  # <- merged over all workers
                print(f"version {optimizer.version}: perplexity {measured.mean:.2f} a byte")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("server", nargs="?", default="127.0.0.1:50051")
    for name, size in {"width": 128, "depth": 4, "context": 128, "batch": 32}.items():
        parser.add_argument(f"--{name}", type=int, default=size)
    main(parser.parse_args())
