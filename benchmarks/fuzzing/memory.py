"""How much memory this process has taken, and a limit to it. Linux."""

import resource
from pathlib import Path

MIB = 1 << 20


def peak_mib() -> float:
    """Return the most memory that was ever resident, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB


def limit_further_memory(mib: int) -> None:
    """Let the address space grow by at most `mib` more; beyond that, allocations fail."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + mib * MIB
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
