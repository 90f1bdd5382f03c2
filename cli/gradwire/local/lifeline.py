"""What `gradwire train` hands to the processes that it starts: they end with it, and the server has its folder."""

import ctypes
import os
import signal
import sys

PARENT = "GRADWIRE_PARENT_PID"  # these are set for children only
LOCK = "GRADWIRE_LOCK_DESCRIPTOR"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends, where the parent asked for it; see prctl(2).

    The parent must have started it from its main thread, which is what the kernel watches.
    """
    parent = os.environ.get(PARENT)
    if parent is None or sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it ended before the call above
        os.kill(os.getpid(), signal.SIGKILL)


def inherited_lock() -> int | None:
    """Return the descriptor of the lock of the run's folder, where the parent holds it for this process too."""
    lock = os.environ.get(LOCK)
    return int(lock) if lock is not None else None
