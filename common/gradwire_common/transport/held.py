"""What a worker holds of a snapshot already, so that it need not travel: a digest of each unit, and marks of units."""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from gradwire_common.errors import DataError
from gradwire_common.layout.manifest import MAX_TENSORS, Unit

F32 = npt.NDArray[np.float32]
Marks = npt.NDArray[np.bool_]  # (units,)

DIGEST_BYTES = 8  # of a unit: two that differ have the same digest once in 2**64
MAX_HELD = DIGEST_BYTES * MAX_TENSORS  # bytes
MAX_MARKS = (MAX_TENSORS + 7) // 8  # bytes


def unit_digests(values: F32, units: Sequence[Unit]) -> bytes:
    """Return the digest of each unit in the flat vector `values`: BLAKE2b (RFC 7693) of its little-endian float32."""
    little = (values[unit.place].astype("<f4", copy=False).data for unit in units)
    return b"".join(blake2b(each, digest_size=DIGEST_BYTES).digest() for each in little)


def equal_units(held: bytes, digests: bytes) -> Marks:
    """Mark the units whose digests are the same in both.

    Raises:
        DataError: `held` has not as many as `digests`.
    """
    if len(held) != len(digests):
        raise DataError(f"held: got {len(held)} bytes, want {len(digests)}, {DIGEST_BYTES} for each unit of the model")
    same: Marks = np.frombuffer(held, "<u8") == np.frombuffer(digests, "<u8")
    return same


def pack_marks(marks: Marks) -> bytes:
    """Return a bit for each unit, the first the highest of the first byte; nothing where no unit is marked."""
    return np.packbits(marks).tobytes() if marks.any() else b""


def unpack_marks(packed: bytes, n_units: int) -> Marks:
    """Return what `pack_marks` was given.

    Raises:
        DataError: it has not a bit for each of `n_units`.
    """
    if not packed:
        return np.zeros(n_units, np.bool_)
    if len(packed) != (n_units + 7) // 8:
        raise DataError(f"left_out: got {len(packed)} bytes, want {(n_units + 7) // 8}, a bit for each unit")
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=n_units).view(np.bool_)
