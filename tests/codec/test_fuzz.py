"""Damaged frames never crash, hang, decode wrong or take memory without bound; fuzz_codec.py has the checks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[2] / "benchmarks" / "fuzz_codec.py"


def fuzz(tmp_path: Path, seconds: float, seed: int, *options: str, **environment: str) -> None:
    """Fuzz in a process of its own, which a crash may take down."""
    done = subprocess.run(
        [
            sys.executable,
            FUZZ,
            *("--seconds", str(seconds), "--seed", str(seed), "--keep", tmp_path / "frame", *options),
        ],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"


def test_damaged_frames_decode_right_or_are_refused(tmp_path):
    fuzz(tmp_path, 20, 1)


@pytest.mark.long  # compiles every kernel again, or none
@pytest.mark.parametrize(
    "environment",
    [{"NUMBA_BOUNDSCHECK": "1"}, {"NUMBA_DISABLE_JIT": "1"}],
    ids=["with bounds checks", "uncompiled"],
)
def test_the_portable_path_stays_inside_its_buffers(tmp_path, environment):
    fuzz(tmp_path, 60, 2, "--largest", "300", **environment)
