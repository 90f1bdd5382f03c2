"""Compiled kernels that are older than a kernel they call, or compiled otherwise than is wanted now.

numba compiles a kernel again when its own file changes, but not when the file of a kernel that it calls does. So
whoever edits one file of these folders would run a mixture. Nor does it tell kernels with bounds checks from those
without. The state of sources and settings stands beside the compiled kernels; where it has changed, they are removed.
"""

import contextlib
from pathlib import Path

from numba import config

CACHE = "__pycache__"  # of each folder
MARK = "kernels.state"  # in that of the uppermost
COMPILED = "*.nbi"  # numba's index files; it overwrites the rest


def forget_stale_kernels(sources: Path) -> bool:
    """Remove what numba has compiled of `sources` and the folders in it if a file there has changed since, or whether
    bounds are checked; return whether it had.

    A folder that cannot be written holds no compiled kernels, and is left as it is.
    """
    paths = sorted(sources.rglob("*.py"))
    files = [(str(path.relative_to(sources)), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    state = repr((bool(config.BOUNDSCHECK), files))
    mark = sources / CACHE / MARK
    if mark.is_file() and mark.read_text() == state:
        return False
    with contextlib.suppress(OSError):
        mark.parent.mkdir(exist_ok=True)
        for index in sources.rglob(f"{CACHE}/{COMPILED}"):
            index.unlink(missing_ok=True)
        mark.write_text(state)
    return True
