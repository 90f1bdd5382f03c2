"""Tensor to frame and back: the public door of the codec.

float32 entries -> symbols -> bits -> frame -> symbols -> float32 levels
"""

import math
import time

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.codebook import Codebook, grid_indices, model_codebook
from gradwire_common.codec.explicit_lengths import pack_lengths, unpack_lengths
from gradwire_common.codec.formats import Quantizer, all_formats, format_numbered
from gradwire_common.codec.headers import CHECKSUM_BYTES, FRAME_VERSION, HEADER_MAX, FrameHeader, parse_header
from gradwire_common.codec.kernels.encoding import BLOCK
from gradwire_common.codec.model.fit import fit_gennorm, refuse_non_finite
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.sealing import opened, raw_length, raw_levels, sealed, stored_frame
from gradwire_common.codec.segments import decode_body, encode_body
from gradwire_common.codec.words.choice import choose_scheme
from gradwire_common.codec.words.measured import own_codebook
from gradwire_common.errors import BitstreamError, CodebookMismatchError, UsageError

__all__ = [
    "FRAME_VERSION",
    "HEADER_MAX",
    "FrameHeader",
    "add_frame",
    "check_frame",
    "decode_frame",
    "encode_frame",
    "read_header",
    "warm_up",
]

F32 = npt.NDArray[np.float32]
BytesLike = bytes | bytearray | memoryview

WARM_PARAMETERS = (0.01, 1.5)  # step sizes and scales at which the entries -1 to 1 have many and few levels


def encode_frame(
    values: F32,
    quantizer: Quantizer,
    model: GenNorm | None = None,
    *,
    residual: F32 | None = None,
    explicit_lengths: bool = False,
    raw: bool = False,
    threads: int = 1,
) -> bytes:
    """Quantise and encode `values` as one frame.

    Args:
        values: (n,) float32, C-contiguous, finite.
        quantizer: What to round to.
        model: Fit of the entries, from which the codebook is made; fitted here where None.
        residual: (n,) float32 that receives `values` minus what `decode_frame` will give; may be `values` itself.
        explicit_lengths: Whether code lengths travel in the frame even where the fit's own would do.
        raw: Whether the symbols are stored uncoded.
        threads: How many threads may encode segments.

    Returns:
        The frame; `read_header` says where it ends.

    Raises:
        NonFiniteError: `values` holds a NaN or infinity.
        UsageError: an array of the wrong shape or dtype, or a format that is not registered.
    """
    _check_entries("values", values)
    if residual is not None:
        _check_entries("residual", residual, values.size)
    form = quantizer.format
    if format_numbered(form.number) is not form:
        raise UsageError(f"format {form.name} with number {form.number} is not registered, so no frame can be read")
    if values.size == 0:
        return sealed(FrameHeader(quantizer, 0, CHECKSUM_BYTES), [])
    if raw:
        refuse_non_finite(values)
        symbols = quantizer.quantize(values)
        if residual is not None:
            np.subtract(values, quantizer.dequantize(symbols), out=residual)
        return stored_frame(quantizer, symbols)
    if model is None:
        model = fit_gennorm(values, check_finite=False)  # `encode_body` looks at every entry
    scheme, segment = choose_scheme(form, *grid_indices(model, quantizer.unit), values.size)
    codebook = model_codebook(form, scheme)
    own = own_codebook(values, quantizer, codebook, segment, wanted=explicit_lengths)
    if own is not None:
        codebook = own
    body: list[bytes | memoryview] = [] if own is None else [pack_lengths(own)]
    body += encode_body(values, quantizer, codebook, segment, residual, threads)
    length = sum(len(part) for part in body) + CHECKSUM_BYTES
    explicit = own is not None
    header = FrameHeader(quantizer, values.size, length, codebook.scheme, explicit, segment, codebook.fingerprint)
    frame = sealed(header, body)
    if explicit_lengths or len(frame) <= raw_length(quantizer, values.size):
        return frame
    # `residual` may have replaced `values` by now, so the symbols come from the frame; levels quantise to themselves
    return stored_frame(quantizer, quantizer.quantize(decode_frame(frame)))


def decode_frame(frame: BytesLike, *, out: F32 | None = None, threads: int = 1) -> F32:
    """Decode the frame at the start of `frame`, whatever bytes these are.

    Args:
        frame: Any bytes.
        out: (n_entries,) float32, C-contiguous, that receives the entries, as fresh memory takes longer; a new array
            where None. Where the checksum is wrong it is untouched; where the frame is wrong although its checksum is
            right, it may hold a part.
        threads: How many threads may decode segments.

    Returns:
        (n_entries,) float32: `out`, if given.

    Raises:
        BitstreamError: the bytes are no undamaged frame of this version, or it holds another number of entries.
        CodebookMismatchError: this machine derives another codebook than the encoder did.
        UsageError: `out` has the wrong shape or dtype.
    """
    header, body = opened(frame)
    if out is None:
        out = np.empty(header.n_entries, np.float32)
    else:
        _check_room("out", out, header)
    if header.scheme is None:
        for place, levels, _ in raw_levels(header, body):
            out[place] = levels
        return out
    codebook, body = _codebook_of(header, body)
    decode_body(header, codebook, body, out, None, threads)
    return out


def add_frame(frame: BytesLike, weight: float, accumulator: F32, *, threads: int = 1) -> None:
    """Add `weight` times a frame's entries to `accumulator`: float32 product, rounded, then float32 sum.

    Args:
        frame: Any bytes.
        weight: Rounded to float32.
        accumulator: (n_entries,) float32, C-contiguous. Where the checksum is wrong it is untouched; where the frame is
            wrong although its checksum is right, it may hold a part. Levels of zero leave it
            as it is, but those of float32 and bfloat16.
        threads: How many threads may decode segments.

    Raises:
        BitstreamError: as `decode_frame`, or the frame holds another number of entries.
        UsageError: `accumulator` has the wrong shape or dtype.
    """
    header, body = opened(frame)
    _check_room("accumulator", accumulator, header)
    if header.scheme is None:
        for place, levels, _ in raw_levels(header, body):
            levels *= np.float32(weight)
            accumulator[place] += levels
        return
    codebook, body = _codebook_of(header, body)
    decode_body(header, codebook, body, accumulator, weight, threads)


def check_frame(frame: BytesLike, most: float = math.inf) -> float:
    """Check that `decode_frame` can decode a frame. Takes no more memory for a longer one.

    Args:
        frame: Any bytes.
        most: A magnitude. Only where the header allows larger ones are entries looked at for their size.

    Returns:
        The largest magnitude of an entry; where the header allows none above `most`, the largest that it allows.

    Raises:
        BitstreamError: as `decode_frame`.
    """
    header, body = opened(frame)
    allowed = header.quantizer.largest
    if header.scheme is None:
        largest = max((largest for _, _, largest in raw_levels(header, body)), default=0.0)
    else:
        codebook, body = _codebook_of(header, body)
        largest = decode_body(header, codebook, body, None, None, 1, measured=allowed > most)
    return largest if allowed > most else allowed


def read_header(data: BytesLike) -> FrameHeader:
    """Read the header at the start of `data`, of which HEADER_MAX bytes are always enough.

    Raises:
        BitstreamError: no header of this version starts there.
    """
    return parse_header(memoryview(data).cast("B"))


def warm_up() -> float:
    """Compile or load every kernel; return the seconds it took."""
    began = time.perf_counter()
    values = np.linspace(-1, 1, 2 * BLOCK, dtype=np.float32) ** 9
    residual, accumulator = np.empty_like(values), np.zeros_like(values)
    for form in all_formats():
        for parameter in (0.0,) if form.parameter is None else WARM_PARAMETERS:
            quantizer = form.build(parameter)
            for explicit in (False, True):
                frame = encode_frame(values, quantizer, residual=residual, explicit_lengths=explicit)
                add_frame(frame, 0.5, accumulator)
                decode_frame(frame)
    return time.perf_counter() - began


def _codebook_of(header: FrameHeader, body: memoryview) -> tuple[Codebook, memoryview]:
    """The frame's codebook, and what follows explicit code lengths."""
    if header.scheme is None:
        raise UsageError("a raw frame has no codebook")
    if header.explicit:
        codebook, n_bytes = unpack_lengths(header.scheme, body)
        body = body[n_bytes:]
    else:
        try:
            codebook = model_codebook(header.quantizer.format, header.scheme)
        except UsageError as error:
            raise BitstreamError(f"frame: {error}") from error
    if codebook.fingerprint != header.fingerprint:
        raise CodebookMismatchError(
            f"codebook ({header.scheme.beta_index}, {header.scheme.ratio_index}) has fingerprint "
            f"{codebook.fingerprint:08x} here, want {header.fingerprint:08x}; explicit code lengths would help"
        )
    return codebook, body


def _check_room(name: str, entries: F32, header: FrameHeader) -> None:
    _check_entries(name, entries)
    if header.n_entries != entries.size:
        raise BitstreamError(f"frame holds {header.n_entries} entries, want {entries.size}")


def _check_entries(name: str, entries: F32, size: int | None = None) -> None:
    if entries.dtype != np.float32 or entries.ndim != 1 or not entries.flags.c_contiguous:
        raise UsageError(
            f"{name} is {entries.dtype} of shape {entries.shape}, want a contiguous float32 array of one dimension"
        )
    if size is not None and entries.size != size:
        raise UsageError(f"{name} has {entries.size} entries, want {size}")
