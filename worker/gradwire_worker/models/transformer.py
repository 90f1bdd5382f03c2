"""A transformer that predicts the next byte of a text (Vaswani et al., 2017; normalised before each part, as GPT-2)."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

BYTES = 256
CONTEXT = 128  # bytes that a prediction looks back at
DEVIATION = 0.02  # of initial weights


@dataclass(frozen=True, slots=True)
class Size:
    """How large a transformer is.

    Attributes:
        width: of a byte's vector; a multiple of 64, so that matrices are cut in whole blocks.
        layers, heads: how many of each.
    """

    width: int
    layers: int
    heads: int


SIZES = {"text-0.4m": Size(128, 2, 4), "text-3m": Size(256, 4, 4), "text-25m": Size(512, 8, 8)}


class Transformer(nn.Module):
    """Layers of causal attention and an MLP of four times the width; the embedding is the output's matrix too.

    text-0.4m has 445,952 parameters, text-3m 3,257,856, text-25m 25,416,704.
    """

    def __init__(self, size: Size):
        super().__init__()
        self.embedding = nn.Embedding(BYTES, size.width)
        self.position = nn.Parameter(torch.empty(CONTEXT, size.width))
        self.layers = nn.ModuleList(Layer(size) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.width)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                last = name.endswith(("attention_out.weight", "mlp.2.weight"))  # of each residual branch
                nn.init.normal_(parameter, std=DEVIATION / (2 * size.layers) ** 0.5 if last else DEVIATION)

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        """Return (n, length, 256) scores of the byte after each of (n, length) bytes, length up to CONTEXT."""
        x = self.embedding(text) + self.position[: text.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return functional.linear(self.norm(x), self.embedding.weight)


class Layer(nn.Module):
    """Attention to what came before, and an MLP, each added to its input."""

    def __init__(self, size: Size):
        super().__init__()
        self.heads = size.heads
        self.norm1, self.norm2 = nn.LayerNorm(size.width), nn.LayerNorm(size.width)
        self.attention_in = nn.Linear(size.width, 3 * size.width)
        self.attention_out = nn.Linear(size.width, size.width)
        self.mlp = nn.Sequential(
            nn.Linear(size.width, 4 * size.width), nn.GELU(), nn.Linear(4 * size.width, size.width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (n, length, width) for the same."""
        x = x + self.attention_out(self._attention(self.norm1(x)))
        output: torch.Tensor = x + self.mlp(self.norm2(x))
        return output

    def _attention(self, x: torch.Tensor) -> torch.Tensor:
        """Attend in matrix products, which are the same bits again on a GPU too."""
        n, length, width = x.shape
        parts = self.attention_in(x).view(n, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-2, -1) / (width // self.heads) ** 0.5
        later = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        scores = scores.masked_fill(later, float("-inf"))
        attended: torch.Tensor = scores.softmax(-1) @ value
        return attended.transpose(1, 2).reshape(n, length, width)
