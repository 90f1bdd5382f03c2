"""Real `gradwire` processes for tests, none of which outlives its test."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

SECONDS = 240  # for one process; far more than it takes, so that a busy machine fails no test

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("GRADWIRE_")} | {
    "OMP_NUM_THREADS": "1",
    "COLUMNS": "120",
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
}


@dataclass(frozen=True)
class Ended:
    """What a process left."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one error line; the log lines before it are none."""
        lines = self.err.splitlines()
        assert "Traceback" not in self.err, self.err
        assert [line for line in lines if line.startswith("error: ")] == lines[-1:], self.err
        return lines[-1]


def heed_interrupts() -> None:
    """Undo what a shell does to its background jobs: with SIGINT ignored, Ctrl-C could not be tested."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Running:
    """A process in the background."""

    def __init__(self, arguments: list[str], folder: Path, settings: dict[str, str]):
        self.process = subprocess.Popen(
            arguments,
            cwd=folder,
            env=ENVIRONMENT | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=heed_interrupts,
        )
        self.said = ""

    def wait_for(self, pattern: str) -> str:
        """Read on until a line matches; return the match's first group, or all of it."""
        for line in self.process.stdout:
            self.said += line
            if match := re.search(pattern, line):
                return match[match.lastindex or 0]
        raise AssertionError(f"no line matches {pattern!r} in:\n{self.said}")

    def wait(self) -> int:
        """Read on to the end; return the exit code."""
        self.said += self.process.communicate(timeout=SECONDS)[0]
        return self.process.returncode

    def close(self) -> None:
        self.process.kill()
        with self.process:
            pass


@pytest.fixture(scope="session", autouse=True)
def kernels() -> None:
    """Compile the kernels before any process is waited for."""
    from gradwire_common.warming import warm_kernels

    warm_kernels()


def run_to_the_end(*arguments: object, folder: Path, **settings: str) -> Ended:
    done = subprocess.run(
        [sys.executable, "-m", "gradwire", *map(str, arguments)],
        cwd=folder,
        env=ENVIRONMENT | settings,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def run_anywhere() -> Callable[..., Ended]:
    """Run `gradwire` in the folder given to its end."""
    return run_to_the_end


@pytest.fixture
def run(tmp_path) -> Callable[..., Ended]:
    """Run `gradwire` in the test's folder to its end."""
    return partial(run_to_the_end, folder=tmp_path)


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[..., Running]]:
    """Start `gradwire`, or another program, in the background."""
    running = []

    def start_one(*arguments: object, program: tuple[str, ...] = ("-m", "gradwire"), **settings: str) -> Running:
        running.append(Running([sys.executable, *program, *map(str, arguments)], tmp_path, settings))
        return running[-1]

    yield start_one
    for each in running:
        each.close()


@pytest.fixture
def server(start) -> Callable[..., str]:
    """Start a server on a free port; return its address."""

    def start_server(*arguments: object, **settings: str) -> str:
        return start("server", "--listen", "127.0.0.1:0", *arguments, **settings).wait_for(r"^listening on (\S+)")

    return start_server
