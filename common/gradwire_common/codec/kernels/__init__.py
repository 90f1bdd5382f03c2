"""Compiled loops of the codec: checked contiguous arrays in, caller-made outputs, counts out.

encoding, decoding   whole segments; `portable` has the loops of theirs that any machine runs
quantizing           entries to buckets and raw bits
words                buckets to bits, and back
levels               buckets and raw bits to levels
"""

from pathlib import Path

from gradwire_common.codec.kernels.cache_folder import ensure_writable_cache
from gradwire_common.codec.kernels.freshness import forget_stale_kernels

forget_stale_kernels(Path(__file__).parent)
ensure_writable_cache()
