"""Values of settings are written as they are read, and settings as files."""

from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from gradwire_common.settings.config import Config
from gradwire_common.settings.waits import Deadline, Quorum
from gradwire_common.transport.address import Address, parse_address
from gradwire_common.units import (
    MAX_BYTES,
    MAX_SECONDS,
    MIN_SECONDS,
    Rate,
    Size,
    parse_rate_limit,
    parse_size_limit,
)

amounts = st.one_of(
    st.integers(0, MAX_BYTES),
    st.builds(lambda number, unit: min(number * unit, MAX_BYTES), st.integers(1, 2000), st.sampled_from([1000, 10**6])),
    st.builds(lambda number, power: number << 10 * power, st.integers(1, 2000), st.integers(0, 4)),
    st.integers(0, 10**6).map(lambda kbit: kbit * 125),
)
seconds = st.floats(MIN_SECONDS, MAX_SECONDS)
deadlines = st.one_of(st.builds(Deadline, seconds), st.just(Deadline()), st.just(Deadline(adaptive=True)))
quorums = st.one_of(
    st.builds(Quorum, st.integers(1, 2**32 - 1)),
    st.builds(Quorum, percent=st.floats(0, 100, exclude_min=True, allow_subnormal=False)),
)
addresses = st.builds(
    Address,
    st.one_of(st.from_regex(r"[a-z][a-z0-9]{0,9}(\.[a-z][a-z0-9]{0,9})?", fullmatch=True), st.ip_addresses().map(str)),
    st.integers(1, 65535),
)


@hypothesis.given(amounts)
def test_a_rate_that_is_written_is_read_back_to_the_byte(n):
    assert parse_rate_limit(str(Rate(n))) == n


@hypothesis.given(amounts)
def test_a_size_that_is_written_is_read_back_to_the_byte(n):
    assert parse_size_limit(str(Size(n))) == n


@hypothesis.given(quorums)
def test_a_quorum_that_is_written_is_read_back(quorum):
    assert Quorum.parse(str(quorum)) == quorum


@hypothesis.given(deadlines)
def test_a_deadline_that_is_written_is_read_back(deadline):
    assert Deadline.parse(str(deadline)) == deadline


@hypothesis.given(addresses)
def test_an_address_that_is_written_is_read_back(address):
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Rate(2_500_000), "20 Mbit/s"),
        (Rate(187_500_000), "1.5 Gbit/s"),
        (Rate(1_234_567), "1234567 B/s"),
        (Rate(0), "none"),
        (Size(256 << 10), "256 KiB"),
        (Size(4_000_000), "4 MB"),
        (Size(1_234_567), "1234567 B"),
        (Quorum(3), "3"),
        (Quorum(percent=75.0), "75 %"),
        (Quorum(percent=100.0), "all"),
        (Deadline(0.5), "0.5 s"),
        (Deadline(), "none"),
        (Deadline(adaptive=True), "adaptive"),
    ],
)
def test_values_are_written_as_people_write_them(value, text):
    assert str(value) == text


@hypothesis.given(
    st.fixed_dictionaries(
        {},
        optional={
            "rate_up": amounts.map(Rate),
            "burst": st.integers(1, MAX_BYTES).map(Size),
            "memory": st.one_of(st.just("auto"), st.integers(1, MAX_BYTES).map(Size)),
            "window": amounts.map(Size),
            "quorum": quorums,
            "deadline": deadlines,
            "heartbeat": seconds,
            "listen": addresses,
            "server": st.one_of(st.just("-"), addresses),
            "metrics_listen": st.one_of(st.none(), addresses),
            "bits": st.one_of(st.just("auto"), st.floats(0.01, 8)),
            "slot": st.one_of(st.none(), st.integers(0, 2**16 - 1)),
            "data": st.just(Path("a b/c")),
            "optimizer_options": st.dictionaries(
                st.text("abc_\u00e9\"'", min_size=1), st.floats(-1e299, 1e299) | st.booleans()
            ),
            "resume": st.booleans(),
        },
    )
)
def test_settings_of_any_values_are_written_as_toml_and_read_back(tmp_path_factory, given):
    config = Config(**given)
    file = tmp_path_factory.mktemp("settings") / "config.toml"
    file.write_text(config.to_toml(), "utf-8")
    assert Config.load(file) == config
    assert config.replaced() == config


def test_no_setting_is_read_twice():
    config = Config.load(None, {"rate_up": "20 Mbit/s", "quorum": "75 %"})
    again = config.replaced(rate_down="8 Mbit/s")
    assert again.rate_up is config.rate_up
    assert again.quorum is config.quorum
    assert again.rate_down == 1_000_000
