"""Whole numbers of every entry of a unit, as a frame of the codec: its Huffman coder serves quantisers of others.

A whole number is an entry of the uniform quantiser with step 1, so it comes back as it was.
"""

import numpy as np

from gradwire_common.codec.formats import format_named
from gradwire_common.codec.frames import decode_frame, encode_frame, read_header
from gradwire_common.errors import BitstreamError
from gradwire_common.methods.method import F32

UNIFORM = "uniform"


def encode_whole(numbers: F32) -> bytes:
    """Return the frame of whole numbers of magnitudes up to 2**20, (n,) float32."""
    return encode_frame(numbers, format_named(UNIFORM).build(1.0))


def decode_whole(data: memoryview, n: int, low: int, high: int) -> F32:
    """Return the `n` numbers of a frame, each from `low` to `high`. Raises BitstreamError where it holds others."""
    numbers = decode_floats(data, n)
    if n and not (numbers.min() >= low and numbers.max() <= high and (numbers == np.rint(numbers)).all()):
        raise BitstreamError(
            f"got numbers from {numbers.min():g} to {numbers.max():g}, want whole ones, {low} to {high}"
        )
    return numbers


def decode_floats(data: memoryview, n: int) -> F32:
    """Return the `n` entries of a frame that `data` is. Raises BitstreamError where it holds others."""
    header = read_header(data)
    if header.n_entries != n or header.frame_length != len(data):
        raise BitstreamError(
            f"got {header.n_entries} entries in {header.frame_length} of {len(data)} bytes, want {n} in all of them"
        )
    return decode_frame(data)
