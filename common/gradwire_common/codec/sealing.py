"""The outside of a frame: header, body and checksum joined and taken apart, and frames whose symbols are not coded."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from isal.isal_zlib import crc32

from gradwire_common.codec.formats import Quantizer
from gradwire_common.codec.headers import CHECKSUM_BYTES, FrameHeader, build_header, parse_header
from gradwire_common.codec.model.fit import refuse_non_finite
from gradwire_common.codec.segments import TASK_ENTRIES
from gradwire_common.errors import BitstreamError, NonFiniteError

F32 = npt.NDArray[np.float32]
BytesLike = bytes | bytearray | memoryview


def sealed(header: FrameHeader, body: list[bytes | memoryview]) -> bytes:
    """Return the frame of a header and the parts of its body."""
    parts = [build_header(header), *body]
    checksum = 0
    for part in parts:
        checksum = crc32(part, checksum)
    return b"".join([*parts, checksum.to_bytes(CHECKSUM_BYTES, "little")])


def opened(frame: BytesLike) -> tuple[FrameHeader, memoryview]:
    """Return the header of the frame at the start of `frame`, and its body.

    Raises:
        BitstreamError: it is not whole, or damaged.
    """
    data = memoryview(frame).cast("B")
    header = parse_header(data)
    if len(data) < header.frame_length:
        raise BitstreamError(f"frame has {len(data)} bytes, want {header.frame_length}")
    end = header.frame_length - CHECKSUM_BYTES
    got, want = crc32(data[:end]), int.from_bytes(data[end : header.frame_length], "little")
    if got != want:
        raise BitstreamError(f"frame checksum is {got:08x}, want {want:08x}")
    return header, data[header.header_length : end]


def stored_frame(quantizer: Quantizer, symbols: npt.NDArray[Any]) -> bytes:
    """Return the frame of `symbols` that are not coded."""
    data = symbols.astype(quantizer.format.raw_dtype).tobytes()
    return sealed(FrameHeader(quantizer, symbols.size, len(data) + CHECKSUM_BYTES), [data])


def raw_length(quantizer: Quantizer, n: int) -> int:
    """Return the bytes of such a frame of `n` entries."""
    n_bytes = n * np.dtype(quantizer.format.raw_dtype).itemsize + CHECKSUM_BYTES
    return n_bytes + len(build_header(FrameHeader(quantizer, n, n_bytes)))


def raw_levels(header: FrameHeader, body: memoryview) -> Iterator[tuple[slice, F32, float]]:
    """Yield where each piece of a raw frame belongs, its levels, and the largest magnitude of these."""
    quantizer = header.quantizer
    entries = np.frombuffer(body, quantizer.format.raw_dtype)
    for start in range(0, max(entries.size, 1), TASK_ENTRIES):
        symbols = entries[start : start + TASK_ENTRIES]
        quantizer.check_symbols(symbols)
        levels = quantizer.dequantize(symbols).copy()
        try:
            largest = refuse_non_finite(levels)
        except NonFiniteError:
            raise BitstreamError("frame holds a NaN or infinity, want finite entries") from None
        yield slice(start, start + symbols.size), levels, largest
