"""Tasks that go wrong, for tests."""

import os

import numpy as np
from torch import nn

from gradwire_common.methods import coding
from gradwire_worker.tasks import Classification


def _task(x, width=5):
    n = len(x)
    return Classification(
        name="bad",
        description="random numbers",
        build_model=lambda: nn.Sequential(nn.Linear(x.shape[1], width), nn.Linear(width, 2)),
        x_train=x,
        y_train=np.arange(n) % 2,
        x_test=x[:10],
        y_test=np.arange(10) % 2,
    )


def _samples():
    return np.random.default_rng(0).normal(size=(100, 30)).astype(np.float32)


def narrow(config):
    return _task(_samples(), int(os.environ.get("WIDTH", "5")))


def not_a_number(config):
    return _task(_samples() * np.float32(np.nan))


def corrupted(config):
    """Flip a bit in every frame that this process encodes of gradients."""
    encode_frame = coding.encode_frame

    def flip(*arguments, **options):
        frame = bytearray(encode_frame(*arguments, **options))
        frame[-6] ^= 1
        return bytes(frame)

    coding.encode_frame = flip
    return _task(_samples())
