"""A process of this machine: its log, and what it failed with."""

import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from gradwire.exit_codes import MISUSED
from gradwire_common.errors import ClusterError, UsageError
from gradwire_common.foreign_text import printable
from gradwire_common.private_files import make_empty

LAST_LINES = 12  # of a log that are shown when its process ended without an error line


class Child:
    """One process of the cluster; everything that it says goes to its log.

    Attributes:
        log_kept: whether the log is still there when errors are read.
    """

    def __init__(
        self,
        name: str,
        arguments: list[str],
        log: Path,
        environment: Mapping[str, str],
        inherited: Collection[int] = (),
        *,
        log_kept: bool = True,
    ):
        self.name = name
        self.log_kept = log_kept
        self.log = log
        make_empty(log)
        with log.open("wb") as output:
            self.process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-P", "-m", "gradwire", *arguments],  # -P: not the user's statistics.py, queue.py ...
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=inherited,
                start_new_session=True,  # Ctrl-C reaches the parent alone, which ends its children in order
            )

    @property
    def running(self) -> bool:
        """Whether the process has not ended yet."""
        return self.process.poll() is None

    def said(self) -> str:
        """Return the log so far."""
        return self.log.read_text("utf-8", "replace")

    def tell(self, line: str) -> None:
        """Write a line to the process' standard input and close it."""
        if self.process.stdin:
            with suppress(BrokenPipeError), self.process.stdin as stdin:  # where it has ended, check() says why
                stdin.write(f"{line}\n".encode())

    def check(self) -> None:
        """Raise ClusterError, or UsageError where it was misused, if the process has failed; quotes its error line."""
        code = self.process.poll()
        if not code:
            return
        lines = self.said().splitlines()
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        if errors:
            kind = UsageError if code == MISUSED else ClusterError
            raise kind(f"{self.name}: {errors[-1]} (log: {self.log})" if self.log_kept else errors[-1])
        print("\n".join(map(printable, lines[-LAST_LINES:])), file=sys.stderr)
        ending = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        raise ClusterError(f"{self.name} {ending}" + (f" (log: {self.log})" if self.log_kept else ""))

    def stop(self, deadline: float) -> None:
        """End the process: gracefully until `deadline` (of time.monotonic), then by force."""
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdin:
            with suppress(BrokenPipeError):
                self.process.stdin.close()
