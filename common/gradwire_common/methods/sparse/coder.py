"""The door of the compiled coder: places and symbols of any number of tensors to one stream of bytes, and back."""

import numpy as np
import numpy.typing as npt

from gradwire_common.errors import BitstreamError
from gradwire_common.methods.kernels.intervals import (
    READ_AHEAD,
    WHOLE_BITS,
    WRITTEN_AT_END,
    begin_decoding,
    end_encoding,
)
from gradwire_common.methods.kernels.subsets import decode_subsets, encode_subsets
from gradwire_common.methods.kernels.symbols import decode_symbols, encode_symbols

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

SLACK = 16  # bytes behind what a call writes


def depth_of(n_symbols: int) -> int:
    """Return the bits of symbols of an alphabet of `n_symbols`."""
    return max(n_symbols - 1, 0).bit_length()


class StreamWriter:
    """Writes places and symbols, one call after the other."""

    def __init__(self) -> None:
        self._state = np.array([0, 1 << WHOLE_BITS, 0], np.int64)
        self._out = np.empty(1024, np.uint8)

    def places(self, places: I64, counts: I64, length: int) -> None:
        """Write which entries of blocks of `length` are sent; as `encode_subsets` has them."""
        self._grow(counts.size * (length // 8 + 8))
        encode_subsets(places, counts, length, self._state, self._out)

    def symbols(self, symbols: U8, n_symbols: int) -> None:
        """Write symbols below `n_symbols`, at most 256."""
        depth = depth_of(n_symbols)
        self._grow(symbols.size * (depth + 7) // 8 + symbols.size)
        encode_symbols(symbols, depth, np.zeros((1 << depth, 2), np.int64), self._state, self._out)

    def end(self) -> bytes:
        """Return the stream."""
        self._grow(1)
        return self._out[: end_encoding(self._state[0], self._state[2], self._out)].tobytes()

    def _grow(self, n_bytes: int) -> None:
        want = int(self._state[2]) + n_bytes + SLACK
        if want > self._out.size:
            self._out = np.concatenate([self._out, np.empty(max(want, 2 * self._out.size) - self._out.size, np.uint8)])


class StreamReader:
    """Reads what a StreamWriter wrote, by the same calls in the same order; any bytes give something.

    Args:
        data: the stream, all of it.
    """

    def __init__(self, data: bytes | memoryview):
        self._data = np.frombuffer(data, np.uint8)
        self._state = np.array([begin_decoding(self._data), 1 << WHOLE_BITS, READ_AHEAD], np.int64)

    def places(self, counts: I64, length: int) -> I64:
        """Return the places of blocks' entries; each count is from 0 to `length`."""
        places = np.empty(int(counts.sum()), np.int64)
        decode_subsets(self._data, counts, length, self._state, places)
        return places

    def symbols(self, n: int, n_symbols: int) -> U8:
        """Return `n` symbols.

        Raises:
            BitstreamError: one is not below `n_symbols`.
        """
        depth = depth_of(n_symbols)
        symbols = np.empty(n, np.uint8)
        decode_symbols(self._data, depth, np.zeros((1 << depth, 2), np.int64), self._state, symbols)
        if n and int(symbols.max()) >= n_symbols:
            raise BitstreamError(f"a frame has symbol {int(symbols.max())}, want one below {n_symbols}")
        return symbols

    def end(self) -> None:
        """Check that the stream is no longer than it need be. Raises BitstreamError."""
        most = int(self._state[2]) - READ_AHEAD + WRITTEN_AT_END
        if self._data.size > most:
            raise BitstreamError(f"a frame's stream has {self._data.size} bytes, want at most {most}")
