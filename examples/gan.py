"""A GAN: two models with an optimizer each, so two servers; points on a ring of eight clouds.

gradwire server --workers 2 --rounds 2000 --name generator                                       # in one terminal
gradwire server --workers 2 --rounds 2000 --name discriminator --listen 127.0.0.1:50052          # in another
python examples/gan.py 127.0.0.1:50051 127.0.0.1:50052                                           # in two others

What makes the loop train with others is marked with an arrow.
"""

import math
import sys

import torch
from torch import nn
from torch.nn import functional

from gradwire import RemoteOptimizer, SessionOptions  # <-

BATCH = 128
ANGLES = torch.arange(8) * math.pi / 4
CENTRES = 2 * torch.stack([ANGLES.cos(), ANGLES.sin()], 1)


def mlp(n_inputs: int, n_outputs: int) -> nn.Module:
    """Return a network of two hidden layers."""
    return nn.Sequential(
        nn.Linear(n_inputs, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, n_outputs)
    )


def real(draw: torch.Generator) -> torch.Tensor:
    """Return a batch of points, (BATCH, 2)."""
    return CENTRES[torch.randint(8, (BATCH,), generator=draw)] + 0.1 * torch.randn(BATCH, 2, generator=draw)


def bce(logits: torch.Tensor, wanted: float) -> torch.Tensor:
    """Return the loss of a discriminator that should have said `wanted`."""
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, wanted))


def main(for_generator: str, for_discriminator: str) -> None:
    """Train until the servers end their runs."""
    torch.manual_seed(0)
    generator, discriminator = mlp(8, 2), mlp(2, 1)
    adam = {"optimizer": torch.optim.Adam, "lr": 1e-3, "betas": (0.5, 0.999), "bits": 4.0}
    g = RemoteOptimizer(generator, for_generator, **adam)  # <-
    d = RemoteOptimizer(discriminator, for_discriminator, session=SessionOptions(slot=g.slot), **adam)  # <- same slot
    draw = torch.Generator().manual_seed(1 + g.slot)  # <- each worker draws samples of its own
    with g, d:  # <-
        while not (g.ended or d.ended):  # <- was for step in range(...)
            made = generator(torch.randn(BATCH, 8, generator=draw))
            d.zero_grad()
            loss = bce(discriminator(real(draw)), 1.0) + bce(discriminator(made.detach()), 0.0)
            loss.backward()
            d.step(samples=BATCH, loss=loss)  # <-

            g.zero_grad()
            loss = bce(discriminator(made), 1.0)
            loss.backward()
            g.step(samples=BATCH, loss=loss)  # <-

    with torch.no_grad():
        distances, nearest = torch.cdist(generator(torch.randn(1000, 8)), CENTRES).min(1)
    near = distances < 0.4
    print(f"version {g.version}: {near.float().mean():.1%} near a cloud, {len(nearest[near].unique())} of 8 clouds met")


if __name__ == "__main__":
    main(*(sys.argv[1:] or ("127.0.0.1:50051", "127.0.0.1:50052")))
