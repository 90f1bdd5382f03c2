"""What is told of weights while they travel."""

import logging

import pytest

from gradwire_worker.session.transfer import Transfer


def test_lines_tell_bytes_of_bytes_rate_and_time_left(caplog: pytest.LogCaptureFixture) -> None:
    now, shown = 0.0, []
    transfer = Transfer("initial weights to the server", 60 << 20, shown.append, lambda: now)
    with caplog.at_level(logging.INFO, "gradwire"):
        for second, done in [(0.1, 0), (0.6, 0), (0.7, 1 << 20), (2.0, 5 << 20), (6.0, 15 << 20), (24.0, 61 << 20)]:
            now, transfer.done = second, done
            transfer.look()
        transfer.finish()
    what = "initial weights to the server: "
    assert shown == [
        what + "0 B of 60.00 MiB",
        what + "5.00 MiB of 60.00 MiB, 20.97 Mbit/s, 0:22 left",
        what + "15.00 MiB of 60.00 MiB, 20.97 Mbit/s, 0:18 left",
        what + "60.00 MiB of 60.00 MiB, 20.97 Mbit/s, 0:00 left",
    ]
    assert [record.message for record in caplog.records] == [*shown[2:], what + "60.00 MiB in 24.0 s, 20.97 Mbit/s"]


def test_a_short_one_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    transfer = Transfer("weights", 1000, lambda _: None, lambda: now)
    now = 0.3
    with caplog.at_level(logging.INFO, "gradwire"):
        transfer.look()
        transfer.finish()
    assert not caplog.records
