"""How much memory a process has taken, and a limit to it. Linux."""

import resource
from pathlib import Path

MIB = 1 << 20


def peak_mib() -> float:
    """Return the most memory that was ever resident, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB


def memory_of(figure: str, process: int | str = "self") -> int:
    """Return a figure of a process' memory in bytes: VmRSS now, VmHWM its peak."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{figure}:"))


def limit_further_memory(mib: int) -> None:
    """Let the address space grow by at most `mib` more; beyond that, allocations fail."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + mib * MIB
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
