"""What the benchmark asks of a coder."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]


class Coder(Protocol):
    """A coder with one array of symbols loaded; whatever need not be timed was done at birth."""

    name: str
    n_bytes: int  # of the last encoding, everything a decoder needs included

    def encode(self) -> None:
        """Encode the symbols and keep the bytes."""

    def decode(self) -> U8:
        """Return the symbols from the bytes of the last encoding."""
