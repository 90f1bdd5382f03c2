import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradwire_common.errors import ConfigError, UsageError
from gradwire_common.transport.token_bucket import SECOND, TokenBucket

MS = SECOND // 1000


def test_a_story_of_takes() -> None:
    bucket = TokenBucket(rate=10, burst=3)  # a token every 100 ms
    for now, held, n, wait in [
        (0, 3, 2, 0),
        (0, 1, 1, 0),
        (0, 0, 1, 100 * MS),  # reserved: the next one comes after it
        (0, -1, 1, 200 * MS),
        (200 * MS, 0, 0, 0),
        (250 * MS, 0, 1, 50 * MS),
        (1000 * MS, 3, 3, 0),  # full again, and no fuller than the burst
        (1000 * MS, 0, 3, 300 * MS),
    ]:
        assert bucket.tokens(now) == held
        assert bucket.take(n, now) == wait


def test_what_can_never_pass_is_refused_with_the_numbers() -> None:
    bucket = TokenBucket(rate=10, burst=3)
    with pytest.raises(UsageError, match="got 4 bytes at once, want at most the burst of 3 bytes"):
        bucket.take(4, 0)
    assert bucket.tokens(0) == 3


def test_bytes_that_have_passed_are_owed_whatever_the_burst() -> None:
    bucket = TokenBucket(rate=10, burst=3)
    assert bucket.spend(5, 0) == 200 * MS
    assert bucket.tokens(0) == -2


def test_a_refund_undoes_a_take_and_fills_no_further_than_the_burst() -> None:
    bucket = TokenBucket(rate=10, burst=3)
    bucket.take(3, 0)
    bucket.refund(2)
    assert bucket.tokens(0) == 2
    assert bucket.tokens(10 * SECOND) == 3


def test_a_changed_rate_keeps_what_is_held_or_owed() -> None:
    bucket = TokenBucket(rate=10, burst=4)
    bucket.take(3, 0)
    bucket.set_rate(1000, 4, 0)
    assert bucket.tokens(0) == 1
    bucket.take(4, 0)
    bucket.set_rate(1, 2, 0)
    assert bucket.tokens(0) == -3
    assert bucket.take(1, 0) == 4 * SECOND


def test_a_bucket_without_rate_or_burst_is_refused() -> None:
    for rate, burst in [(0, 1), (1, 0), (-1, 1)]:
        with pytest.raises(ConfigError, match=f"got {rate} bytes/s and a burst of {burst} bytes"):
            TokenBucket(rate, burst)


@given(
    rate=st.integers(1, 10**9),
    burst=st.integers(1, 10**7),
    steps=st.lists(st.tuples(st.integers(-(10**9), 10**10), st.floats(0, 1), st.floats(0, 1)), max_size=40),
)
def test_no_window_carries_more_than_rate_times_time_and_burst(
    rate: int, burst: int, steps: list[tuple[int, float, float]]
) -> None:
    """Whatever is taken and given back, and however the clock jumps, backwards too."""
    bucket = TokenBucket(rate, burst)
    now, passed = 0, []
    for ahead, share, kept in steps:
        now += ahead
        n = int(share * burst)
        wait = bucket.take(n, now)
        unused = n - int(kept * n)
        bucket.refund(unused)
        passed.append((now + wait, n - unused))
    for i, (start, _) in enumerate(passed):
        total = 0
        for time, n in passed[i:]:
            total += n
            elapsed = max(time - start, 0)
            assert total <= rate * elapsed / SECOND + burst + 1


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(1, 1000), st.integers(0, 1000)),  # bytes taken; of them given back
        st.tuples(st.just("rate"), st.integers(1, 10**6), st.integers(1000, 10_000)),
        st.tuples(st.just("pass"), st.integers(0, 10 * SECOND), st.just(0)),
        st.tuples(st.just("jump back"), st.integers(0, 10 * SECOND), st.just(0)),
        st.tuples(st.just("jump ahead"), st.integers(0, 10 * SECOND), st.just(0)),
    ),
    max_size=60,
)


@given(rate=st.integers(1, 10**6), burst=st.integers(1000, 10_000), steps=STEPS)
def test_takes_refunds_rate_changes_and_clock_jumps_keep_the_bound(
    rate: int, burst: int, steps: list[tuple[str, int, int]]
) -> None:
    """Over any true time, what passes is at most what flows in and the largest burst.

    A jump of the clock back lets no more pass; one ahead fills the bucket at the most.
    """
    bucket = TokenBucket(rate, burst)
    now = flowed = jumps = 0  # the clock's ns, byte * ns / s that flowed in, jumps ahead
    most_burst, events = burst, [(0, 0, 0)]  # flowed in, jumps, bytes passed
    for what, a, b in steps:
        if what == "take":
            wait = bucket.take(a, now)
            now, flowed = now + wait, flowed + wait * bucket.rate
            bucket.refund(min(a, b))
            events.append((flowed, jumps, a - min(a, b)))
        elif what == "rate":
            bucket.set_rate(a, b, now)
            most_burst = max(most_burst, b)
        elif what == "pass":
            now, flowed = now + a, flowed + a * bucket.rate
        elif what == "jump ahead":
            now, jumps = now + a, jumps + 1
        else:
            now -= a
    for first in range(len(events)):
        passed, (flowed_first, jumps_first, _) = 0, events[first]
        for flowed_then, jumps_then, n in events[first:]:
            passed += n
            bursts = 1 + jumps_then - jumps_first
            assert passed * SECOND <= flowed_then - flowed_first + bursts * most_burst * SECOND
