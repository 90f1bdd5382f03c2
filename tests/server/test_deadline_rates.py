"""Deadlines know the rate: the limiter makes nobody late."""

import pytest

from gradwire_server.deadlines import ADAPTIVE, Deadlines
from gradwire_server.limiter import Limiter
from gradwire_server.pacing import Limits


@pytest.mark.parametrize("rule", [0.5, ADAPTIVE])
def test_a_deadline_is_no_sooner_than_twice_the_transfer_of_the_largest_push(rule: float | str) -> None:
    deadlines = Deadlines(rule, rate=1000)
    for _ in range(20):
        deadlines.arrived(0.1, 4000)
    assert deadlines.seconds == 8
    deadlines.rate = 500
    assert deadlines.seconds == 16
    deadlines.rate = 0
    assert deadlines.seconds == (1.0 if rule == ADAPTIVE else rule)


def test_the_rate_that_counts_is_the_slowest_workers_share() -> None:
    limiter = Limiter(Limits(rate_up=10_000, shared_up=30_000))
    assert limiter.least_share_up(2) == 10_000
    assert limiter.least_share_up(6) == 5_000
    limiter.change("slow", {"rate_up": 1_000})
    assert limiter.least_share_up(6) == 1_000
    limiter.change("", {"rate_up": 0, "shared_up": 0})
    assert limiter.least_share_up(6) == 0
