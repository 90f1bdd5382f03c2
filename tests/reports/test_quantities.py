"""Rates, sizes and times mean what people meant, or are refused in one line; what is printed can be read again."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradwire.commands.limit import change_limits
from gradwire.links.profile import Link, parse_link
from gradwire_common.errors import ConfigError, UsageError
from gradwire_common.settings.config import Config
from gradwire_common.settings.waits import Deadline, Quorum
from gradwire_common.units import (
    MAX_BYTES,
    format_rate,
    format_size,
    parse_rate,
    parse_rate_limit,
    parse_seconds,
    parse_size,
    parse_size_limit,
)
from gradwire_server.limits.limiter import described
from gradwire_server.limits.limits import Limits
from running import running_server
from server.plain_worker import PlainWorker
from worker.toys import server_config

MEGABIT, MEGABYTE, MEBIBYTE, MEBIBIT = 125_000, 1_000_000, 1 << 20, 1 << 17


@pytest.mark.parametrize(
    ("text", "bytes_per_second"),
    [
        *[
            (f"8 {unit}", 8 * MEGABIT)
            for unit in ("Mbit/s", "mbit/s", "MBIT/S", "MBit/s", "Mb/s", "mb/s", "Mbps", "mbps")
        ],
        *[(f"8 {unit}", 8 * MEGABIT) for unit in ("mbit", "Mbits", "Mbits/sec", "Mbit per second", "Mbit / s")],
        *[(f"8 {unit}", 8 * MEGABYTE) for unit in ("MB/s", "mB/s", "MBps", "Mbyte/s", "Mbytes/second", "MB/S")],
        *[(f"8 {unit}", 8 * MEBIBYTE) for unit in ("MiB/s", "MIB/s", "miB/s", "MiBps", "Mibyte/s")],
        *[(f"8 {unit}", 8 * MEBIBIT) for unit in ("Mib/s", "mib/s", "Mibit/s")],
        ("64kbit/s", 8_000),
        ("64 Kb/s", 8_000),
        ("1.5Gbit/s", 187_500_000),
        (".5 Tbit/s", 62_500_000_000),
        ("2e6 bit/s", 250_000),
        ("20\N{NO-BREAK SPACE}Mbit/s", 20 * MEGABIT),  # as copied from a web page
    ],
)
def test_b_is_bits_and_capital_b_is_bytes_and_case_matters_nowhere_else(text, bytes_per_second):
    assert parse_rate(text) == bytes_per_second


NO_NUMBERS = [
    *("", " ", "nan", "nan Mbit/s", "inf Mbit/s", "-5 Mbit/s", "\N{MINUS SIGN}5 Mbit/s", "+5 Mbit/s", "ten Mbit/s"),
    *("1,5 Mbit/s", "1.5.1 Mbit/s", "1_000 kbit/s", "0x10 Mbit/s", "\N{ARABIC-INDIC DIGIT FIVE} Mbit/s", "5 5 Mbit/s"),
    *("20 MB", "20 Mb", "20 M", "20 bits/h", "5 \N{GREEK SMALL LETTER MU}bit/s", "Mbit/s", "5 Mbit/s\nx", "true"),
]


@pytest.mark.parametrize("text", [*NO_NUMBERS, "5 Mbit/s/s", "x" * 100_000])
def test_what_is_no_rate_is_refused_in_one_short_line(text):
    with pytest.raises(ConfigError, match="want a rate such as '20 Mbit/s' or '3 MB/s'") as refused:
        parse_rate(text)
    assert len(str(refused.value)) < 200
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["5", "2500000", "1.5", " 7 ", 5, 10**20, 2.5])
def test_a_number_without_a_unit_is_asked_for_its_unit(text):
    number = str(text).strip()
    with pytest.raises(ConfigError, match=f"want its unit too, such as '{number} Mbit/s' or '{number} MB/s'"):
        parse_rate(text)
    with pytest.raises(ConfigError, match=f"want its unit too, such as '{number} MB' or '{number} KiB'"):
        parse_size(text)


@pytest.mark.parametrize("text", ["0 bit/s", "0 Gbit/s", "0.0 MB/s", "4 bit/s", "0.0001 kbit/s", "1e-300 Pbit/s"])
def test_what_rounds_to_no_byte_a_second_is_refused_and_told_how_to_lift_the_limit(text):
    with pytest.raises(ConfigError, match="want at least 8 bit/s, which is 1 B/s"):
        parse_rate(text)
    with pytest.raises(
        ConfigError, match=r"rate_up: got .*, want at least 8 bit/s, which is 1 B/s; none lifts the limit"
    ):
        Config.load(None, {"rate_up": text})


@pytest.mark.parametrize(
    "text", ["73 Pbit/s", "99999999999999 Gbit/s", "1e400 bit/s", f"{'9' * 5000} kbit/s", "10 PB/s"]
)
def test_what_the_wire_cannot_hold_is_refused_with_the_most_that_it_can(text):
    with pytest.raises(ConfigError, match="want at most 72 Pbit/s"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("512 mb", "want bytes such as '512 MB': b stands for bits"),
        ("256kib", "want bytes such as '256 KiB': b stands for bits"),
        ("1 b", "want bytes such as '1 B': b stands for bits"),
        ("512 M", "want a size such as"),
        ("4 Mbit", "want a size such as"),
        ("256 KiB/s", "want a size such as"),
        ("0 KiB", "want at least 1 B"),
        ("0.4 B", "want at least 1 B"),
        ("9 PiB", "want at most 8 PiB"),
    ],
)
def test_a_size_in_bits_or_of_nothing_is_refused(text, want):
    with pytest.raises(ConfigError, match=want):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5), (5, 5), ("5 s", 5), ("500ms", 0.5), ("5 min", 300), ("1.5 hours", 5400), ("2 Sec", 2), (0.25, 0.25)],
)
def test_times_have_units_and_are_in_seconds_without_one(text, seconds):
    assert parse_seconds(text) == seconds
    assert Deadline.parse(text) == Deadline(seconds)
    assert Config.load(None, {"patience": text}).patience == seconds


@pytest.mark.parametrize(
    "text", ["0 s", "0", 0, -1, "nan", math.nan, math.inf, "1e400", "31 h 5", "5 d", "", True, "50000 min"]
)
@pytest.mark.parametrize("setting", ["patience", "heartbeat", "transfer_seconds", "deadline"])
def test_what_is_no_time_is_refused_by_the_name_of_its_setting(setting, text):
    with pytest.raises(ConfigError, match=f"^{setting}: got .*, want "):
        Config.load(None, {setting: text})


@pytest.mark.parametrize("text", ["nan%", "inf %", "1e400 %", "-5 %", "0 %", "101 %", "1.5", "0", "", "all of them"])
def test_what_is_no_quorum_is_refused(text):
    with pytest.raises(ConfigError, match="want all, a share such as '75 %'"):
        Quorum.parse(text)


@pytest.mark.parametrize("text", ["none", "None", " NONE "])
def test_none_lifts_a_limit_however_it_is_written(text):
    assert parse_rate_limit(text) == parse_size_limit(text) == 0
    assert str(Config.load(None, {"rate_up": text, "window": text}).rate_up) == "none"


@given(st.integers(1, MAX_BYTES // 10 * 9))
def test_rates_and_sizes_that_are_printed_for_people_are_read_back_about(value):
    assert math.isclose(parse_rate(format_rate(value)), value, rel_tol=5e-4, abs_tol=1)
    assert math.isclose(parse_size(format_size(value)), value, rel_tol=5e-3, abs_tol=1)


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text):
    for parse in (parse_rate, parse_size, parse_seconds, Deadline.parse, Quorum.parse):
        try:
            parse(text)
        except ConfigError as error:
            assert len(str(error)) < 300  # noqa: PT017


rates = st.integers(0, 10**9).map(lambda kbit: kbit * 125.0)


@given(rates, rates, st.integers(0, 10_000))
def test_a_link_that_is_printed_is_read_back(up, down, ms):
    link = Link(up, down, ms / 1000)
    again = parse_link(str(link))
    for got, want in ((again.rate_up, up), (again.rate_down, down), (again.delay, link.delay)):
        assert math.isclose(got, want, rel_tol=5e-4)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("0 Mbit/s, 20 ms", "want at least 8 bit/s"),
        ("5 up, 20 ms", "want its unit too"),
        ("5 Mbit/s, 6 Mbit/s", "after another one of its kind"),
        ("5 Mbit/s, 20 ms, 30 ms", "after another one of its kind"),
        ("5 Mbit/s, 1e400 ms", "want a time"),
        ("5 Mbit/s, 60 s", "want a delay of at most 10 s"),
        ("5 Mbit/s, -5 ms", "want a time|want seconds"),
        ("wireless: snr 10 dB, uses 1e-9", "carries no bits"),
    ],
)
def test_a_link_that_carries_nothing_or_says_a_thing_twice_is_refused(text, want):
    with pytest.raises(ConfigError, match=f"^link: .*({want})"):
        parse_link(text)


@pytest.mark.parametrize(
    ("given", "want"),
    [
        ({"rate_up": "0 bit/s"}, "^rate_up: .* want at least 8 bit/s, which is 1 B/s; none lifts the limit"),
        ({"shared_down": "4 bit/s"}, "^shared_down: .*none lifts the limit"),
        ({"rate_down": "99999999999999 Gbit/s"}, "^rate_down: .* want at most 72 Pbit/s"),
        ({"burst": "0"}, "^burst: got '0', want its unit too"),
        ({"window": "-1 KiB"}, "^window: .* want a size"),
    ],
)
def test_gradwire_limit_refuses_by_name_before_it_calls(given, want):
    with pytest.raises(ConfigError, match=want):
        change_limits("127.0.0.1:1", None, given, 5.0)


def test_gradwire_limit_names_the_workers_where_it_knows_none_of_that_name(tmp_path, capsys):
    with running_server(server_config(tmp_path)) as server:
        with pytest.raises(UsageError, match="worker: got 'w1', want one that has joined: none has yet"):
            change_limits(server.address, "w1", {"rate_up": "1 Mb/s"}, 5.0)
        workers = [PlainWorker(server.address, f"w{number}") for number in (1, 10, 2)]
        for worker in workers:
            worker.join()
        for unknown in ("W1", "w", "w1 ", "0"):
            with pytest.raises(UsageError, match=f"worker: got {unknown!r}, want one that has joined: w1, w10, w2$"):
                change_limits(server.address, unknown, {"rate_up": "1 Mb/s"}, 5.0)
        with pytest.raises(UsageError, match="worker: got an empty id"):
            change_limits(server.address, "", {"rate_up": "1 Mb/s"}, 5.0)
        change_limits(server.address, "w1", {"rate_up": "1 Mb/s"}, 5.0)
        for worker in workers:
            worker.channel.close()
    assert capsys.readouterr().out.startswith("rate_up 1 Mbit/s, rate_down none, burst 256 KiB,")


def test_the_log_writes_limits_with_their_units():
    told = described(Limits(rate_up=2_500_000, shared_down=1))
    assert told.startswith("rate_up 20 Mbit/s, rate_down none, burst 256 KiB, shared_up none, shared_down 8 bit/s")


def test_the_server_refuses_numbers_that_its_replies_could_not_hold():
    for name in ("rate_up", "burst", "shared_down"):
        with pytest.raises(ConfigError, match=f"^{name}: got {2**64 - 1} bytes, want at most {2**53}"):
            Limits(**{name: 2**64 - 1})
