"""What the frames of an update are known by, whole or in part."""

import zlib

EMPTY = 1  # of no bytes at all


def digest_of(frames: bytes | bytearray | memoryview, before: int = EMPTY) -> int:
    """Return the Adler-32 (RFC 1950) of `frames`, which follow those whose digest is `before`.

    No CRC-32, since every frame ends with its own: the CRC-32 of such bytes tells their lengths, and nothing else.
    """
    return zlib.adler32(frames, before)
