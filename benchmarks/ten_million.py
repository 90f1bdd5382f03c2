"""A model of ten million parameters over 1 Mbit/s: rounds that take longer than every patience, and end."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from run_records import rounds_of

PARAMETERS = 10_000_000
RATE = "1 Mbit/s"
SECONDS = 1200  # for all of it, of which the initial weights take five minutes; a guard
COMPLAINTS = re.compile(r"timeout|timed out|deadline of|cannot be reached|is dead|DEADLINE_EXCEEDED", re.IGNORECASE)


def ten_million(rounds: int = 2) -> dict[str, Any]:
    """Train by the command line at 2 bits an entry, patience, heartbeats and deadlines far below the transfer's time.

    Returns:
        `rounds` that were done, `round_seconds` of the longest, `complaints`: lines of logs that tell of a timeout.
    """
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--task", "synthetic", "--parameters", str(PARAMETERS), "--workers", "1", "--rounds", str(rounds)]
        flags += ["--rate-up", RATE, "--rate-down", RATE, "--bits", "2", "--evaluate-every", "0"]
        flags += ["--patience", "5", "--heartbeat", "1", "--deadline", "5", "--threads", "1"]
        flags += ["--name", "r", "--runs", folder]
        command = [sys.executable, "-m", "gradwire", "train", *flags]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=SECONDS)
        run = Path(folder) / "r"
        seconds = [record["seconds"] for record in rounds_of(run)]
        said = [line for log in run.glob("*.log") for line in log.read_text().splitlines() if COMPLAINTS.search(line)]
    return {"rounds": len(seconds), "round_seconds": max(seconds), "complaints": said}
