"""A manifest as bytes that travel in pieces and are kept: serialized, known by its SHA-256, compressed by zlib.

manifest -> serialized -> packed -> pieces, and back.
"""

import hashlib
import zlib
from collections.abc import Iterator

from google.protobuf.message import DecodeError

from gradwire_common.errors import ModelMismatchError
from gradwire_common.layout.manifest import MAX_NAME, MAX_TENSORS, Manifest
from gradwire_common.transport.wire import manifest_from_message, manifest_to_message
from gradwire_common.units import format_size
from gradwire_common.v1 import parameter_server_pb2 as pb

INLINE_BYTES = 256 << 10  # of a serialized manifest that is part of a join; a server parses it before any check
PIECE_BYTES = 64 << 10
MAX_SERIALIZED = 16 << 20  # bytes; 100,000 tensors with names of 130 characters
MAX_PACKED = 8 << 20  # bytes; names are alike, so they shrink to a tenth or less
MAX_ENTRY = 4 * MAX_NAME + (16 << 10)  # bytes of one tensor or one group, serialized
_WIRE_TYPE, _LENGTH_DELIMITED = 0b111, 2  # of a field's tag


def serialize(manifest: Manifest) -> bytes:
    """Return the bytes of a manifest.

    Raises:
        ModelMismatchError: if they are more than MAX_SERIALIZED.
    """
    data = manifest_to_message(manifest).SerializeToString(deterministic=True)
    _check_length(len(data), MAX_SERIALIZED, f"manifest of {len(manifest.tensors)} tensors")
    return data


def parse(data: bytes) -> Manifest:
    """Return the manifest of what `serialize` returned.

    Raises:
        ModelMismatchError: if it is none.
    """
    try:
        _check_entries(data)
        message = pb.Manifest.FromString(data)
    except (DecodeError, IndexError):
        raise ModelMismatchError(f"manifest: got {len(data)} bytes that are no manifest") from None
    return manifest_from_message(message)


def _check_entries(data: bytes) -> None:
    """Check how many tensors and groups there are, and how long each is, before objects are made of them.

    Raises:
        ModelMismatchError: there are more than any model has, or one is too long.
        IndexError, DecodeError: it is no manifest.
    """
    place = n_entries = 0
    while place < len(data):
        tag, place = _varint(data, place)
        if tag & _WIRE_TYPE != _LENGTH_DELIMITED:
            raise DecodeError
        length, place = _varint(data, place)
        place += length
        n_entries += 1
        if n_entries > 2 * MAX_TENSORS:
            raise ModelMismatchError(f"manifest: got more tensors and groups than {2 * MAX_TENSORS:,}, want fewer")
        if length > MAX_ENTRY:
            raise ModelMismatchError(f"manifest: got a tensor or group of {length:,} bytes, want at most {MAX_ENTRY:,}")


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Return the whole number at `place`, and where it ends."""
    value = shift = 0
    while (byte := data[place]) >= 0x80:
        value |= (byte & 0x7F) << shift
        shift, place = shift + 7, place + 1
        if shift > 63:
            raise DecodeError
    return value | byte << shift, place + 1


def digest_of(data: bytes) -> bytes:
    """Return the SHA-256 of a serialized manifest."""
    return hashlib.sha256(data).digest()


def pack(data: bytes) -> bytes:
    """Return `data` compressed.

    Raises:
        ModelMismatchError: if it takes more than MAX_PACKED.
    """
    packed = zlib.compress(data)
    _check_length(len(packed), MAX_PACKED, "manifest, compressed,")
    return packed


def unpack(packed: bytes) -> bytes:
    """Return what `pack` was given, in memory of MAX_SERIALIZED at the most.

    Raises:
        ModelMismatchError: if it is damaged, or longer.
    """
    inflate = zlib.decompressobj()
    try:
        data = inflate.decompress(packed, MAX_SERIALIZED + 1)
    except zlib.error as error:
        raise ModelMismatchError(f"manifest: {len(packed)} compressed bytes cannot be read: {error}") from None
    _check_length(len(data), MAX_SERIALIZED, "manifest")
    if not inflate.eof:
        raise ModelMismatchError(f"manifest: {len(packed)} compressed bytes are cut short")
    return data


def pieces(packed: bytes) -> Iterator[bytes]:
    """Yield `packed` in pieces that fit a message."""
    for start in range(0, len(packed), PIECE_BYTES):
        yield packed[start : start + PIECE_BYTES]


def check_pieces(n_bytes: int) -> None:
    """Raise ModelMismatchError once `n_bytes` of pieces are more than a packed manifest may have."""
    _check_length(n_bytes, MAX_PACKED, "manifest, compressed,")


def _check_length(n_bytes: int, most: int, what: str) -> None:
    if n_bytes > most:
        raise ModelMismatchError(f"{what} takes {format_size(n_bytes)} or more, want at most {format_size(most)}")
