"""gradwire's coder, called as the benchmark calls the others: symbols in, symbols out, the codebook from the fit."""

import numpy as np

from gradwire_common.codec.codebook import model_codebook
from gradwire_common.codec.kernels.layout import INDEX_FIELDS
from gradwire_common.codec.kernels.raws import raw_bytes
from gradwire_common.codec.segments import grid_tables, kernel_book, room_for, thread_work
from peers.coder import U8
from symbol_kernels import decode_symbols, encode_symbols
from workloads import Part

HEADER_BYTES = 36  # of a frame, its checksum included
INDEX_BYTES = 2  # at most, for each length in the index; counted as this many


class Gradwire:
    """What `encode_frame` and `decode_frame` do, without quantising, levels and checksum."""

    name = "gradwire"

    def __init__(self, part: Part):
        self.symbols = part.symbols
        codebook = model_codebook(part.quantizer.format, part.scheme)
        self.grid, self.book = grid_tables(part.quantizer, part.scheme).grid, kernel_book(codebook)
        self.segment = part.segment
        self.index = np.empty((-(-self.symbols.size // self.segment), INDEX_FIELDS), np.int64)
        self.encoded = np.zeros(room_for(self.symbols.size, self.index.shape[0]), np.uint8)
        self.decoded = np.zeros_like(self.symbols)
        self.work = thread_work(min(self.segment, self.symbols.size), 1)
        self.n_body = 0

    @property
    def n_bytes(self) -> int:
        """Bytes of the frame that this would be."""
        return self.n_body + INDEX_BYTES * self.index.size + HEADER_BYTES

    def encode(self) -> None:
        """Encode segment by segment."""
        self.n_body = encode_symbols(
            self.symbols, self.grid, self.book, self.segment, self.work, self.encoded, self.index
        )

    def decode(self) -> U8:
        """Decode segment by segment."""
        data = self.encoded[: self.n_body]
        lengths = self.index.sum(axis=1) + raw_bytes(self.segment, self.grid.raw_bits)
        places = np.cumsum(lengths) - lengths
        done = decode_symbols(data, places, self.grid, self.book, self.segment, self.work, self.index, self.decoded)
        return self.decoded if done else self.decoded[:0]
