"""ResNet-20 for 32 x 32 images (He, Zhang, Ren and Sun, 2016, section 4.2), with 1 x 1 convolutions as shortcuts."""

import torch
from torch import nn
from torch.nn import functional

WIDTHS = (16, 32, 64)
BLOCKS = 3  # a width; 6 * BLOCKS + 2 layers


class ResNet20(nn.Module):
    """Nine blocks in three widths; 272,474 parameters for 3 channels and 10 classes.

    Args:
        shape: channels, height and width of an image; only the channels matter.
        classes: number of classes.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int):
        super().__init__()
        self.conv = nn.Conv2d(shape[0], WIDTHS[0], 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(WIDTHS[0])
        blocks: list[nn.Module] = []
        width_in = WIDTHS[0]
        for width in WIDTHS:
            for place in range(BLOCKS):
                stride = 2 if place == 0 and width != WIDTHS[0] else 1
                blocks.append(Block(width_in, width, stride))
                width_in = width
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear(width_in, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (n, classes) for (n, channels, height, width)."""
        features = self.blocks(functional.relu(self.bn(self.conv(images))))
        output: torch.Tensor = self.linear(features.mean((2, 3)))
        return output


class Block(nn.Module):
    """Two convolutions and the shortcut around them."""

    def __init__(self, width_in: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or width_in != width:
            self.shortcut = nn.Sequential(nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (n, width, height / stride, width / stride)."""
        out = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(out)) + self.shortcut(x))
