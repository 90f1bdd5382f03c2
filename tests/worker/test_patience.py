"""Transient errors are retried for a while, and nothing else is."""

import threading

import pytest

from gradwire_common.errors import DataError, RunEndedError, UnavailableError
from gradwire_worker.session.patience import LONGEST_DELAY, Patience


class Closing(threading.Event):
    """An event whose waits pass at once and move a clock."""

    now = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        self.now += timeout or 0.0
        return self.is_set()


def test_delays_double_up_to_a_bound_and_end_with_the_seconds():
    closing = Closing()
    patience = Patience(5.0, closing, clock=lambda: closing.now)
    error = UnavailableError("no answer")
    waits = []
    while closing.now < 5.0:
        before = closing.now
        patience.retry(error)
        waits.append(closing.now - before)
    assert waits[:4] == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert max(waits) == pytest.approx(LONGEST_DELAY)
    with pytest.raises(UnavailableError, match=r"no answer \(tried for 5 s\)"):
        patience.retry(error)


def test_progress_begins_the_seconds_anew():
    closing = Closing()
    patience = Patience(1.0, closing, clock=lambda: closing.now)
    for _ in range(20):
        patience.retry(UnavailableError("no answer"))
        patience.progress()
    assert closing.now == pytest.approx(2.0)


@pytest.mark.parametrize("error", [DataError("damaged"), RunEndedError("over")])
def test_what_waiting_cannot_mend_is_raised_at_once(error):
    with pytest.raises(type(error)):
        Patience(60.0, Closing()).retry(error)


def test_nothing_is_waited_for_while_leaving():
    closing = Closing()
    closing.set()
    with pytest.raises(UnavailableError):
        Patience(60.0, closing).retry(UnavailableError("no answer"))
