"""Compiled loops of the codec: checked contiguous arrays in, caller-made outputs, counts out."""

from pathlib import Path

from gradwire_common.codec.kernels.freshness import forget_stale_kernels

forget_stale_kernels(Path(__file__).parent)
