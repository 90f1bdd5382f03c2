"""Compiled kernels that are older than a kernel they call, or compiled otherwise than is wanted now.

numba compiles a kernel again when its own file changes, but not when the file of a kernel that it calls does. So
whoever edits one file of this folder would run a mixture. Nor does it tell kernels with bounds checks from those
without. The state of folder and settings stands beside the compiled kernels; where it has changed, they are removed.
"""

import contextlib
from pathlib import Path

from numba import config

MARK = "kernels.state"  # in the folder of compiled kernels
COMPILED = "*.nbi"  # numba's index files; it overwrites the rest


def forget_stale_kernels(sources: Path) -> bool:
    """Remove what numba has compiled of the folder `sources` if a file there has changed since, or whether bounds are
    checked; return whether it had.

    A folder that cannot be written holds no compiled kernels, and is left as it is.
    """
    files = sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sources.glob("*.py"))
    state = repr((bool(config.BOUNDSCHECK), files))  # type: ignore[attr-defined]
    compiled = sources / "__pycache__"
    mark = compiled / MARK
    if mark.is_file() and mark.read_text() == state:
        return False
    with contextlib.suppress(OSError):
        compiled.mkdir(exist_ok=True)
        for index in compiled.glob(COMPILED):
            index.unlink(missing_ok=True)
        mark.write_text(state)
    return True
