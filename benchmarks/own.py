"""gradwire's coder, called as the benchmark calls the others."""

import numpy as np
import numpy.typing as npt
from workloads import Part

from gradwire_common.codec.frames import decode_frame, encode_frame


class Gradwire:
    """Quantise, encode; decode, dequantise."""

    name = "gradwire"

    def __init__(self, part: Part):
        self.part = part
        self.frame = b""

    @property
    def n_bytes(self) -> int:
        """Bytes of the frame."""
        return len(self.frame)

    def encode(self) -> None:
        """Encode a frame."""
        self.frame = encode_frame(self.part.values, self.part.quantizer, self.part.model)

    def decode(self) -> npt.NDArray[np.float32]:
        """Decode the frame."""
        return decode_frame(self.frame)
