"""What must hold of the decoder on any bytes whatever."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.frames import add_frame, decode_frame, read_header
from gradwire_common.codec.kernels.dispatch import PORTABLE_VARIABLE
from gradwire_common.errors import BitstreamError

F32 = npt.NDArray[np.float32]
Oracle = Callable[[bytes], F32]  # raises ValueError where the bytes are no frame

GUARD = 64  # entries on each side of the accumulator that nothing may touch
GUARD_VALUE = np.float32(12345.678)
WEIGHT = 0.37
ADD_MAX = 1 << 14  # entries; larger frames are only decoded


class WrongDecodingError(AssertionError):
    """The decoder took bytes that it should have refused, or the other way about, or gave other numbers."""


def check_decoder(data: bytes, oracle: Oracle | None, *, adds: bool = True) -> bool:
    """Decode `data` every way and compare.

    Args:
        data: any bytes.
        oracle: an independent decoder, asked as well where there is one.
        adds: whether add_frame is tried as well.

    Returns:
        Whether the decoder took it for a frame.

    Raises:
        WrongDecodingError: two ways disagree, or memory around the accumulator has changed.
    """
    try:
        decoded = decode_frame(data)
    except BitstreamError:
        if adds:
            _check_add_refuses(data)
        if oracle is not None:
            _check_oracle_refuses(data, oracle)
        return False
    if decoded.dtype != np.float32 or decoded.shape != (read_header(data).n_entries,):
        raise WrongDecodingError(f"got {decoded.dtype} of shape {decoded.shape}")
    if not np.isfinite(decoded).all():
        raise WrongDecodingError("decoded entries are not finite")
    if adds and decoded.size <= ADD_MAX:
        _check_add(data, decoded)
    if oracle is not None:
        try:
            expected = oracle(data)
        except ValueError as reason:
            raise WrongDecodingError(f"took what the reference decoder refuses: {reason}") from reason
        if decoded.tobytes() != expected.tobytes():
            raise WrongDecodingError("decoded other entries than the reference decoder")
    return True


def _check_add_refuses(data: bytes) -> None:
    try:
        n = read_header(data).n_entries
    except BitstreamError:
        n = 4
    guarded = np.full(min(n, ADD_MAX) + 2 * GUARD, GUARD_VALUE)
    try:
        add_frame(data, WEIGHT, guarded[GUARD : guarded.size - GUARD])
    except BitstreamError:
        pass
    else:
        raise WrongDecodingError("add_frame took what decode_frame refused")
    _check_guards(guarded)


def _check_oracle_refuses(data: bytes, oracle: Oracle) -> None:
    try:
        oracle(data)
    except ValueError:
        return
    raise WrongDecodingError("refused what the reference decoder takes")


def _check_add(data: bytes, decoded: F32) -> None:
    guarded = np.full(decoded.size + 2 * GUARD, GUARD_VALUE)
    accumulator = guarded[GUARD : GUARD + decoded.size]
    with np.errstate(over="ignore"):
        expected = accumulator + np.float32(WEIGHT) * decoded
    add_frame(data, WEIGHT, accumulator)
    if accumulator.tobytes() != expected.tobytes():
        raise WrongDecodingError("add_frame added something else than the decoded entries")
    _check_guards(guarded)


def _check_guards(guarded: F32) -> None:
    if not (guarded[:GUARD] == GUARD_VALUE).all() or not (guarded[-GUARD:] == GUARD_VALUE).all():
        raise WrongDecodingError("add_frame wrote outside of the accumulator")


def check_paths_agree(data: bytes) -> None:
    """Decode `data` by the fast path and by the portable one.

    Raises:
        WrongDecodingError: one refuses what the other takes, or they decode other entries.
    """
    results = []
    for portable in ("0", "1"):
        with _environment(PORTABLE_VARIABLE, portable):
            try:
                results.append(decode_frame(data).tobytes())
            except BitstreamError:
                results.append(None)
    if results[0] != results[1]:
        raise WrongDecodingError("the fast path and the portable path disagree")


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before
