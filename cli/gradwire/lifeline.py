"""A process that `gradwire train` started ends with it, however that ends."""

import ctypes
import os
import signal
import sys

VARIABLE = "GRADWIRE_PARENT_PID"  # set for children only
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends, where the parent asked for it; see prctl(2).

    The parent must have started it from its main thread, which is what the kernel watches.
    """
    parent = os.environ.get(VARIABLE)
    if parent is None or sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it ended before the call above
        os.kill(os.getpid(), signal.SIGKILL)
