"""A small convolutional network for small images."""

import torch
from torch import nn

CHANNELS = (32, 64)
HIDDEN = 64


class Cnn(nn.Module):
    """Two convolutions, pooling, two linear layers; 85,066 parameters for 8 x 8 digits.

    Args:
        shape: channels, height and width of an image; height and width of at least 2.
        classes: number of classes.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int):
        super().__init__()
        channels, height, width = shape
        self.layers = nn.Sequential(
            nn.Conv2d(channels, CHANNELS[0], 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(CHANNELS[0], CHANNELS[1], 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(CHANNELS[1] * (height // 2) * (width // 2), HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, classes),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (n, classes) for (n, channels, height, width)."""
        output: torch.Tensor = self.layers(images)
        return output
