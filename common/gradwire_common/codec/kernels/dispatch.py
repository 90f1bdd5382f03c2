"""Which of the two paths runs: the fast one, or the portable one that makes and reads the same bytes."""

import os
import sys

from numba.core import config

PORTABLE_VARIABLE = "GRADWIRE_PORTABLE"  # set to anything but 0, it forces the portable path


def fast_path() -> bool:
    """Return whether unguarded loads and stores may be used: compiled, unchecked, little-endian, not forbidden."""
    forbidden = os.environ.get(PORTABLE_VARIABLE, "0") != "0"
    checked = bool(config.DISABLE_JIT or config.BOUNDSCHECK)
    return sys.byteorder == "little" and not checked and not forbidden
