"""What the exit code of `gradwire` says."""

FAILED = 1  # the run, a process or a server failed
MISUSED = 2  # a flag, setting, file or task that cannot be
INTERRUPTED = 130  # Ctrl-C, as shells have it
