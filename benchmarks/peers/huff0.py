"""Huff0 out of Debian's static libzstd, built into a temporary folder when asked for."""

import ctypes
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from peers.coder import U8

SOURCE = Path(__file__).with_name("huff0.c")
VERSION_MIN = 10504  # 1.5.4: the first whose HUF_ functions take flags


class MissingPeerError(RuntimeError):
    """A peer that cannot be built here. Its message is one line and says what is missing."""


@cache
def load_library() -> ctypes.CDLL:
    """Build and load the library.

    Raises:
        MissingPeerError: no C compiler, no static libzstd, or one that is too old.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise MissingPeerError("no C compiler `cc`")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "huff0.so"
        made = subprocess.run(
            [compiler, "-O2", "-shared", "-fPIC", "-Wall", "-o", target, SOURCE, "-l:libzstd.a"],
            capture_output=True,
            text=True,
        )
        if made.returncode:
            reason = next(
                (line for line in made.stderr.splitlines() if "error" in line or "cannot" in line), "no reason"
            )
            raise MissingPeerError(f"no static libzstd with HUF_ functions (Debian: libzstd-dev): {reason.strip()}")
        library = ctypes.CDLL(str(target))
    version = library.huff0_version()
    if version < VERSION_MIN:
        raise MissingPeerError(f"libzstd is version {version}, want at least {VERSION_MIN}")
    for name in ("bound", "encode", "decode", "encode_shared", "decode_shared"):
        getattr(library, f"huff0_{name}").restype = ctypes.c_size_t
    return library


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


class Huff0:
    """A table per 128 KiB block, histogram and table included in the time, as zstd uses it."""

    name = "Huff0"

    def __init__(self, symbols: U8):
        self.library = load_library()
        self.symbols = symbols
        self.encoded = np.zeros(self.library.huff0_bound(ctypes.c_size_t(symbols.size)), np.uint8)
        self.decoded = np.zeros_like(symbols)
        self.n_bytes = 0

    def encode(self) -> None:
        """Encode block by block."""
        encoded, symbols = self.encoded, self.symbols
        self.n_bytes = self.library.huff0_encode(
            _pointer(encoded), ctypes.c_size_t(encoded.size), _pointer(symbols), ctypes.c_size_t(symbols.size)
        )

    def decode(self) -> U8:
        """Decode block by block."""
        encoded, decoded = self.encoded, self.decoded
        n = self.library.huff0_decode(
            _pointer(decoded), ctypes.c_size_t(decoded.size), _pointer(encoded), ctypes.c_size_t(self.n_bytes)
        )
        return decoded[:n]


class SharedHuff0(Huff0):
    """One table for all blocks; its histogram is given, as ours is by the fit."""

    name = "Huff0 shared"

    def __init__(self, symbols: U8):
        super().__init__(symbols)
        self.counts = np.bincount(symbols, minlength=256).astype(np.uint32)

    def encode(self) -> None:
        """Build the table from the counts, then encode every block with it."""
        encoded, symbols = self.encoded, self.symbols
        self.n_bytes = self.library.huff0_encode_shared(
            _pointer(encoded),
            ctypes.c_size_t(encoded.size),
            _pointer(symbols),
            ctypes.c_size_t(symbols.size),
            _pointer(self.counts),
        )

    def decode(self) -> U8:
        """Read the table, then decode every block with it."""
        encoded, decoded = self.encoded, self.decoded
        n = self.library.huff0_decode_shared(
            _pointer(decoded), ctypes.c_size_t(decoded.size), _pointer(encoded), ctypes.c_size_t(self.n_bytes)
        )
        return decoded[:n]
