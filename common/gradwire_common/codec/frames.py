"""Tensor to frame and back: the public door of the codec.

float32 entries -> symbols -> bits -> frame -> symbols -> float32 levels
"""

import zlib

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.gennorm import GenNorm
from gradwire_common.codec.headers import (
    CHECKSUM_BYTES,
    FRAME_VERSION,
    HEADER_MAX,
    RAW_BYTES,
    FrameHeader,
    build_header,
    parse_header,
)
from gradwire_common.codec.quantizers import Float32, Quantizer
from gradwire_common.errors import BitstreamError, NonFiniteError, UsageError

__all__ = [
    "FRAME_VERSION",
    "HEADER_MAX",
    "FrameHeader",
    "add_frame",
    "decode_frame",
    "encode_frame",
    "read_header",
    "warm_up",
]

F32 = npt.NDArray[np.float32]
BytesLike = bytes | bytearray | memoryview


def encode_frame(
    values: F32,
    quantizer: Quantizer,
    model: GenNorm | None = None,
    *,
    residual: F32 | None = None,
    explicit_lengths: bool = False,
    threads: int = 1,
) -> bytes:
    """Quantise and encode `values` as one frame.

    Args:
        values: (n,) float32, C-contiguous, finite.
        quantizer: What to round to.
        model: Fit of the entries, from which the codebook is made; fitted here where None.
        residual: (n,) float32 that receives `values` minus what `decode_frame` will give; may be `values` itself.
        explicit_lengths: Whether code lengths travel in the frame even where the fit's own would do.
        threads: How many threads may encode segments.

    Returns:
        The frame; `read_header` says where it ends.

    Raises:
        NonFiniteError: `values` holds a NaN or infinity.
        UsageError: an array of the wrong shape or dtype.
    """
    _check_entries("values", values)
    if residual is not None:
        _check_entries("residual", residual, values.size)
    if not np.isfinite(values).all():
        raise NonFiniteError("got a NaN or infinity among the values to encode, want finite numbers")
    symbols = quantizer.quantize(values)
    payload = symbols.astype(symbols.dtype if quantizer.name in RAW_BYTES else np.int32).tobytes()
    if residual is not None:
        np.subtract(values, quantizer.dequantize(symbols), out=residual)
    return _seal(FrameHeader(quantizer, values.size, len(payload) + CHECKSUM_BYTES), [payload])


def decode_frame(frame: BytesLike) -> F32:
    """Decode the frame at the start of `frame`, whatever bytes these are.

    Returns:
        (n_entries,) float32.

    Raises:
        BitstreamError: the bytes are no undamaged frame of this version.
        CodebookMismatchError: this machine derives another codebook than the encoder did.
    """
    header, body = _open(frame)
    if isinstance(header.quantizer, Float32):
        decoded = np.frombuffer(body, "<f4").copy()
        if not np.isfinite(decoded).all():
            raise BitstreamError("frame holds a NaN or infinity, want finite entries")
        return decoded
    if header.quantizer.name == "bfloat16":
        return header.quantizer.dequantize(np.frombuffer(body, "<u2"))
    return header.quantizer.dequantize(np.frombuffer(body, "<i4"))


def add_frame(frame: BytesLike, weight: float, accumulator: F32) -> None:
    """Add `weight` times a frame's entries to `accumulator`: float32 product, rounded, then float32 sum.

    Args:
        frame: Any bytes.
        weight: Rounded to float32.
        accumulator: (n_entries,) float32, C-contiguous; untouched where the frame is damaged.

    Raises:
        BitstreamError: as `decode_frame`, or the frame holds another number of entries.
        UsageError: `accumulator` has the wrong shape or dtype.
    """
    header = read_header(frame)
    _check_entries("accumulator", accumulator)
    if header.n_entries != accumulator.size:
        raise BitstreamError(f"frame holds {header.n_entries} entries, want {accumulator.size}")
    accumulator += np.float32(weight) * decode_frame(frame)


def read_header(data: BytesLike) -> FrameHeader:
    """Read the header at the start of `data`, of which HEADER_MAX bytes are always enough.

    Raises:
        BitstreamError: no header of this version starts there.
    """
    return parse_header(memoryview(data).cast("B"))


def warm_up() -> float:
    """Compile or load every kernel; return the seconds it took."""
    return 0.0


def _seal(header: FrameHeader, body: list[bytes]) -> bytes:
    parts = [build_header(header), *body]
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return b"".join([*parts, checksum.to_bytes(CHECKSUM_BYTES, "little")])


def _open(frame: BytesLike) -> tuple[FrameHeader, memoryview]:
    data = memoryview(frame).cast("B")
    header = parse_header(data)
    if len(data) < header.frame_length:
        raise BitstreamError(f"frame has {len(data)} bytes, want {header.frame_length}")
    end = header.frame_length - CHECKSUM_BYTES
    got, want = zlib.crc32(data[:end]), int.from_bytes(data[end : header.frame_length], "little")
    if got != want:
        raise BitstreamError(f"frame checksum is {got:08x}, want {want:08x}")
    return header, data[header.header_length : end]


def _check_entries(name: str, entries: F32, size: int | None = None) -> None:
    if entries.dtype != np.float32 or entries.ndim != 1 or not entries.flags.c_contiguous:
        raise UsageError(
            f"{name} is {entries.dtype} of shape {entries.shape}, want a contiguous float32 array of one dimension"
        )
    if size is not None and entries.size != size:
        raise UsageError(f"{name} has {entries.size} entries, want {size}")
