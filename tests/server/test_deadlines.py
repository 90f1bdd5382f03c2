import pytest

from gradwire_common.errors import ConfigError
from gradwire_common.settings.waits import Deadline, Quorum
from gradwire_server.rounds.deadlines import MIN_ARRIVALS, Deadlines


def test_a_fixed_deadline_is_what_it_is() -> None:
    assert Deadlines(Deadline(3.5)).seconds == 3.5
    assert Deadlines(Deadline()).seconds is None


def test_an_adaptive_deadline_follows_the_median_and_the_spread_of_arrivals() -> None:
    deadlines = Deadlines(Deadline(adaptive=True))
    for _ in range(MIN_ARRIVALS // 2):
        assert deadlines.seconds is None
        deadlines.arrived(4.0, 100)
        deadlines.arrived(6.0, 100)
    assert deadlines.seconds == pytest.approx(5.0 + 6 * 1.4826)


def test_an_adaptive_deadline_leaves_time_for_the_largest_push_at_the_rate_limit() -> None:
    deadlines = Deadlines(Deadline(adaptive=True), rate=1000)
    for _ in range(MIN_ARRIVALS):
        deadlines.arrived(0.1, 20_000)
    assert deadlines.seconds == 40.0


@pytest.mark.parametrize(("text", "want"), [("all", 8), ("75 %", 6), ("70%", 6), ("3", 3), (2, 2)])
def test_a_quorum_is_all_a_share_or_a_number(text: str | int, want: int) -> None:
    assert Quorum.parse(text).of(8) == want


@pytest.mark.parametrize("text", ["0", "120 %", "most", "50 % or so", ""])
def test_what_is_no_quorum_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="want all, a share such as '75 %', or a number of pushes"):
        Quorum.parse(text)


@pytest.mark.parametrize("text", ["0", "-1", "soon", "inf"])
def test_what_is_no_deadline_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="want none, adaptive, or a number of seconds"):
        Deadline.parse(text)
