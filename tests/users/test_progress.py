"""What servers and loops of one's own show while they run, and that nothing is shown where nobody looks."""

import io
import logging
import math
import os
import pty
import subprocess
import sys
from dataclasses import replace

import pytest

from cli.conftest import ENVIRONMENT
from cli.recorded import evaluation, record
from gradwire import StepReport
from gradwire_server.rpc.progress import LOG_EVERY, ProgressLog, progress_text
from gradwire_worker.progress import CLEAR, ProgressLine

TIMES = dict.fromkeys(("compute", "copy", "fit", "encode", "send", "wait"), 0.01)
STEP = StepReport(
    round=1,
    version=1,
    counted=True,
    samples=8,
    loss=0.5,
    n_bytes=900,
    wire_bytes=1000,
    bits_per_entry=2.01,
    step_size=0.1,
    **TIMES,
)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def unlogged(monkeypatch):
    """Let no logging be set up, as in a script."""
    monkeypatch.setattr(logging.getLogger("gradwire"), "hasHandlers", lambda: False)


def line_of(columns, monkeypatch, *, stream=None):
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = Terminal() if stream is None else stream
    now = 0.0
    line = ProgressLine(stream, lambda: now)
    for n in range(1, 12):
        now = 0.5 * n
        line.step(replace(STEP, round=n, version=n), 100, 4000)
    line.close("left run 'r' at version 11: done")
    return stream.getvalue()


@pytest.mark.parametrize("columns", [20, 60, 80, 120])
def test_the_line_fits_the_terminal_and_comes_once_a_second(unlogged, monkeypatch, columns):
    lines = line_of(columns, monkeypatch).split(CLEAR)[1:]
    assert len(lines) == 7
    assert max(len(line.rstrip("\n")) for line in lines) < columns
    if columns >= 80:
        assert (
            lines[-2]
            == "round 11/100  0:44 left  loss 0.5000  2.01 bits/entry  16 kbit/s up of 32 kbit/s"[: columns - 1]
        )
    assert lines[-1].startswith("left run 'r' at vers"[: columns - 1])


def test_nothing_is_shown_in_a_pipe_or_beside_a_log(unlogged, monkeypatch):
    assert line_of(80, monkeypatch, stream=io.StringIO()) == ""
    monkeypatch.setattr(logging.getLogger("gradwire"), "hasHandlers", lambda: True)
    assert line_of(80, monkeypatch) == ""


def test_a_server_tells_of_rounds_now_and_then_and_of_the_last(caplog):
    caplog.set_level(logging.INFO, "gradwire.server")
    now = 0.0
    told = ProgressLog(10, lambda: now)
    for round_, now in [(1, 1.0), (2, LOG_EVERY), (3, LOG_EVERY + 1), (10, LOG_EVERY + 2)]:  # noqa: B007
        told.committed(record(round_), [])
    assert [text.split(",")[0] for text in caplog.messages] == ["round 2 of 10", "round 10 of 10"]


def test_the_line_of_a_server_has_metrics_by_name_and_the_time_left():
    got = progress_text(record(40), 200, [evaluation(40)])
    for part in ("round 40 of 200", "train loss 0.6063", "test accuracy 81.85% (round 40)", "0:08 left", "2 workers"):
        assert part in got
    endless = progress_text(record(3, loss=math.nan), 0, [])
    assert endless == "round 3, 2 workers, 0.05 s a round"


SCRIPT = """
import sys, torch
from gradwire import RemoteOptimizer
model = torch.nn.Linear(4, 1)
with RemoteOptimizer(model, sys.argv[1]) as optimizer:
    while not optimizer.ended:
        optimizer.zero_grad()
        model(torch.ones(2, 4)).sum().backward()
        optimizer.step(samples=2, loss=0.25)
"""


def test_a_loop_of_ones_own_shows_its_rounds_on_a_terminal_and_leaves_standard_output_alone(server):
    address = server("--workers", 1, "--rounds", 3)
    near, far = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, address], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=far, timeout=240
        )
        shown = os.read(near, 1 << 16).decode()
    finally:
        os.close(near)
        os.close(far)
    assert (done.returncode, done.stdout) == (0, b"")
    for part in (
        "loading the codec's kernels",
        f"joining the run at {address}",
        "round 1/3",
        "left run 'run' at version 3",
    ):
        assert part in shown
