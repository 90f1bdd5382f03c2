"""Where numba keeps compiled kernels: a folder of this process's own where the usual one cannot be written.

Such as in a container whose root is read-only, or that another user runs. numba wants to write even where all that it
needs is there, so the private folder begins with a copy of what can be read.
"""

import atexit
import shutil
import tempfile
from pathlib import Path

from numba import config, njit

from gradwire_common.errors import UnavailableError
from gradwire_common.temporary import settle_temporary_folder


def ensure_writable_cache() -> None:
    """Let numba keep compiled kernels in a private folder, removed at exit, where it can write to no other.

    Raises:
        UnavailableError: there is no folder that can be written to.
    """
    if _can_cache():
        return
    kept = Path(config.CACHE_DIR) if config.CACHE_DIR else None
    try:
        settle_temporary_folder()
        private = Path(tempfile.mkdtemp(prefix="gradwire-kernels-"))
    except OSError as error:
        raise UnavailableError(
            f"compiled kernels cannot be kept: {error.strerror}; want a folder that can be written to, named by TMPDIR "
            "or NUMBA_CACHE_DIR"
        ) from None
    atexit.register(shutil.rmtree, private, ignore_errors=True)
    cache = private / "kernels"  # inside, since copies have the modes of what they are made of
    if kept is not None and kept.is_dir():
        shutil.copytree(kept, cache)
    config.CACHE_DIR = str(cache)


def _can_cache() -> bool:
    """Whether numba finds a folder for what it compiles of this package, by its own rules."""
    try:
        njit(cache=True)(_can_cache)  # compiles nothing before it is called
    except RuntimeError:
        return False
    return True
