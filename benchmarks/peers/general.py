"""General-purpose compressors, an exact entropy coder, and memcpy as the physical reference."""

import zlib

import constriction
import numpy as np
import zstandard

from peers.coder import U8


class Zstd:
    """zstd at its fastest regular level, match finder included."""

    name = "zstd 1"

    def __init__(self, symbols: U8):
        self.symbols = symbols
        self.compressor = zstandard.ZstdCompressor(level=1)
        self.decompressor = zstandard.ZstdDecompressor()
        self.encoded = b""
        self.n_bytes = 0

    def encode(self) -> None:
        """Compress all symbols as one zstd frame."""
        self.encoded = self.compressor.compress(self.symbols)
        self.n_bytes = len(self.encoded)

    def decode(self) -> U8:
        """Decompress."""
        return np.frombuffer(self.decompressor.decompress(self.encoded), np.uint8)


class ZlibHuffman:
    """zlib without matches: Huffman codes alone."""

    name = "zlib Huffman"

    def __init__(self, symbols: U8):
        self.symbols = symbols
        self.encoded = b""
        self.n_bytes = 0

    def encode(self) -> None:
        """Compress all symbols as one zlib stream."""
        compressor = zlib.compressobj(strategy=zlib.Z_HUFFMAN_ONLY)
        self.encoded = compressor.compress(self.symbols) + compressor.flush()
        self.n_bytes = len(self.encoded)

    def decode(self) -> U8:
        """Decompress."""
        return np.frombuffer(zlib.decompress(self.encoded, bufsize=self.symbols.size), np.uint8)


class ConstrictionAns:
    """constriction's ANS coder with the empirical distribution, which its decoder is given for nothing."""

    name = "constriction"

    def __init__(self, symbols: U8):
        counts = np.bincount(symbols)
        self.model = constriction.stream.model.Categorical(counts / symbols.size, perfect=False)
        self.symbols = symbols.astype(np.int32)
        self.encoded = np.empty(0, np.uint32)
        self.n_bytes = 0

    def encode(self) -> None:
        """Encode all symbols with one coder."""
        coder = constriction.stream.stack.AnsCoder()
        coder.encode_reverse(self.symbols, self.model)
        self.encoded = coder.get_compressed()
        self.n_bytes = self.encoded.nbytes

    def decode(self) -> U8:
        """Decode all symbols; int32, as the library gives them."""
        return constriction.stream.stack.AnsCoder(self.encoded).decode(self.model, self.symbols.size)


class Memcpy:
    """One byte a symbol, copied: what the memory allows."""

    name = "memcpy"

    def __init__(self, symbols: U8):
        self.symbols = symbols
        self.copy = np.zeros_like(symbols)
        self.copy_back = np.zeros_like(symbols)
        self.n_bytes = symbols.size

    def encode(self) -> None:
        """Copy."""
        np.copyto(self.copy, self.symbols)

    def decode(self) -> U8:
        """Copy back."""
        np.copyto(self.copy_back, self.copy)
        return self.copy_back
