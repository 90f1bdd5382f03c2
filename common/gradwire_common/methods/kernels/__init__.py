"""Compiled loops of methods whose frames are not the codec's: checked contiguous arrays in, caller-made outputs."""

from pathlib import Path

from gradwire_common.codec.kernels.freshness import forget_stale_kernels

forget_stale_kernels(Path(__file__).parent)
