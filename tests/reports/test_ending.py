"""Every command ends by itself, with one clean line, whenever Ctrl-C or SIGTERM comes."""

import random
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

END_SECONDS = 40.0  # a server lets workers leave for five, and calls end for five, on a machine that may be busy
COMMANDS = {
    "train": ("train", "--rounds", "100000", "--workers", "1"),
    "worker": ("worker", "--server", "{server}"),
    "server": ("server", "--listen", "127.0.0.1:0", "--workers", "1", "--rounds", "0"),
}


@pytest.fixture
def end(start, server, tmp_path) -> Callable[[str, float, int], None]:
    """Start a command, send it a signal after so many seconds, and check how it ends."""
    address = server("--rounds", "0", "--workers", "1", "--runs", tmp_path / "served")

    def end_one(command: str, seconds: float, number: int) -> None:
        running = start(*(each.format(server=address) for each in COMMANDS[command]))
        with pytest.raises(subprocess.TimeoutExpired):
            running.process.wait(seconds)
        running.process.send_signal(number)
        began = time.monotonic()
        code = running.wait()
        assert time.monotonic() - began < END_SECONDS
        assert "Traceback" not in running.said
        if (command, code) != ("server", 0):  # one that serves already is stopped in order, which is no failure
            assert (code, running.said.splitlines()[-1]) == (130, "error: interrupted"), running.said

    return end_one


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_ends_at_once_while_it_starts_and_in_order_later(end, command):
    for seconds, number in ((0.4, signal.SIGINT), (0.8, signal.SIGTERM), (4.0, signal.SIGINT)):
        end(command, seconds, number)


@pytest.mark.long
def test_commands_end_whenever_the_signal_comes(end):
    rng = random.Random(1)
    for _ in range(25):
        for command in COMMANDS:
            end(command, rng.choice((1.0, 15.0)) * rng.uniform(0.3, 1.0), rng.choice((signal.SIGINT, signal.SIGTERM)))


@pytest.mark.long
def test_a_second_interrupt_during_the_first_ends_too(start, tmp_path):
    training = start(*COMMANDS["train"])
    training.wait_for("earlier|round|starting")
    for _ in range(3):
        training.process.send_signal(signal.SIGINT)
    assert training.wait() == 130
    assert training.said.splitlines()[-1] == "error: interrupted"
