"""Deadlines know the rate: the limiter makes nobody late."""

import pytest

from gradwire_common.settings.waits import Deadline
from gradwire_server.limits.limiter import Limiter
from gradwire_server.limits.limits import Limits
from gradwire_server.rounds.deadlines import Deadlines


@pytest.mark.parametrize("rule", [Deadline(0.5), Deadline(adaptive=True)])
def test_a_deadline_is_no_sooner_than_twice_the_transfer_of_the_largest_push(rule: Deadline) -> None:
    deadlines = Deadlines(rule, rate=1000)
    for _ in range(20):
        deadlines.arrived(0.1, 4000)
    assert deadlines.seconds == 8
    deadlines.rate = 500
    assert deadlines.seconds == 16
    deadlines.rate = 0
    assert deadlines.seconds == (1.0 if rule.adaptive else rule.seconds)


def test_the_update_that_a_round_begins_with_counts_too() -> None:
    deadlines = Deadlines(Deadline(0.5), rate=1000, rate_down=100)
    deadlines.expect(1000)
    assert deadlines.seconds == 2  # before the first push has come
    deadlines.arrived(0.1, 4000)
    deadlines.sent(300)
    assert deadlines.seconds == 8 + 6


def test_the_rate_that_counts_is_the_slowest_workers_share() -> None:
    limiter = Limiter(Limits(rate_up=10_000, shared_up=30_000))
    assert limiter.least_share_up(2) == 10_000
    assert limiter.least_share_up(6) == 5_000
    limiter.change("slow", {"rate_up": 1_000})
    assert limiter.least_share_up(6) == 1_000
    limiter.change("", {"rate_up": 0, "shared_up": 0})
    assert limiter.least_share_up(6) == 0


def test_an_update_fits_the_slowest_downlink_of_those_that_are_to_keep_up() -> None:
    limiter = Limiter(Limits(rate_down=100_000))
    limiter.change("slow", {"rate_down": 10_000})
    assert 98_000 < limiter.update_budget(["a", "b"], 2, 1.0) < 100_000
    assert 19_000 < limiter.update_budget(["a", "slow"], 2, 2.0) < 20_000
    limiter.change("", {"shared_down": 30_000})
    assert 4_500 < limiter.update_budget(["a"], 6, 1.0) < 5_000
    limiter.change("", {"rate_down": 0, "shared_down": 0})
    assert limiter.update_budget(["a", "slow"], 2, 1.0) == 0
