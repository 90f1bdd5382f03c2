"""Commands end with one line and a sensible code on terminals of few characters and where output takes no more."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from cli.conftest import ENVIRONMENT

ASCII = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
FULL = Path("/dev/full")
QUICK = [
    (["version"], 0),
    (["--help"], 0),
    (["train", "--help"], 0),
    (["status", "127.0.0.1:1"], 1),
    (["limit", "127.0.0.1:1", "--rate-up", "1 Mbit/s"], 1),
    (["inspect", "nos\u00fcch.safetensors"], 2),
    (["train", "--name", "\u202e"], 2),
    (["n\u00f6such"], 2),
]
TRAIN = ["train", "--rounds", "1", "--workers", "1", "--task", "synthetic", "--parameters", "1000"]


def gradwire(
    folder: Path, *arguments: str, out: object = subprocess.PIPE, err: object = subprocess.PIPE, **settings: str
):
    command = [sys.executable, "-P", "-m", "gradwire", *arguments]
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT | settings, stdout=out, stderr=err, timeout=240)


@pytest.fixture
def full():
    if not FULL.exists():
        pytest.skip("needs /dev/full, which this machine has not")
    with FULL.open("wb") as file:
        yield file


def check(done: subprocess.CompletedProcess[bytes], code: int) -> None:
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    assert done.returncode == code, done.stderr
    lines = done.stderr.splitlines()
    assert [line.startswith(b"error: ") for line in lines[-1:]] == [True] * (code != 0)


@pytest.mark.parametrize(
    ("arguments", "code"), QUICK, ids=lambda each: " ".join(each) if isinstance(each, list) else ""
)
def test_a_terminal_of_ascii_alone_is_enough(tmp_path, arguments, code):
    done = gradwire(tmp_path, *arguments, **ASCII)
    check(done, code)
    assert (done.stdout + done.stderr).isascii()


@pytest.mark.parametrize("arguments", [["version"], ["--help"], ["server", "--help"]], ids=" ".join)
def test_an_output_that_is_full_is_told_in_one_line(tmp_path, full, arguments):
    done = gradwire(tmp_path, *arguments, out=full)
    check(done, 1)
    assert done.stderr == b"error: cannot write: No space left on device\n"


def test_where_errors_cannot_be_written_the_code_still_says_how_it_ended(tmp_path, full):
    assert gradwire(tmp_path, "nosuch", err=full).returncode == 2
    assert gradwire(tmp_path, "status", "127.0.0.1:1", out=full, err=full).returncode == 1


def test_a_reader_that_has_gone_is_no_traceback(tmp_path):
    near, far = os.pipe()
    os.close(near)
    try:
        done = gradwire(tmp_path, "version", out=far)
    finally:
        os.close(far)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("output", ["full", "ascii"])
def test_commands_that_work_for_a_while_end_in_order_too(tmp_path, full, output):
    save_file({"caf\u00e9": np.random.default_rng(0).normal(size=100).astype(np.float32)}, tmp_path / "f.safetensors")
    for arguments in (["inspect", "f.safetensors"], TRAIN):
        done = gradwire(tmp_path, *arguments, out=full) if output == "full" else gradwire(tmp_path, *arguments, **ASCII)
        check(done, 1 if output == "full" else 0)
    if output == "full":
        check(gradwire(tmp_path, "server", "--listen", "127.0.0.1:0", "--name", "other", out=full), 1)
    else:
        assert (tmp_path / "runs" / "run" / "weights.safetensors").exists()
