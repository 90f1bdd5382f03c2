import pytest

from gradwire_common.errors import ConfigError
from gradwire_common.units import format_rate, format_size, parse_rate, parse_size


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [("256 KiB", 262144), ("4MB", 4_000_000), ("1000 B", 1000), ("1.5 GiB", 3 << 29), (".5 kB", 500)],
)
def test_sizes_are_bytes(text, n_bytes):
    assert parse_size(text) == n_bytes


@pytest.mark.parametrize(
    ("text", "rate"), [("20 Mbit/s", 2.5e6), ("1 Gbit/s", 1.25e8), ("3 MB/s", 3e6), ("8 bit/s", 1), ("2500 B/s", 2500)]
)
def test_rates_are_bytes_per_second(text, rate):
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "20 MB", "-1 MB/s", "fast", "1 2 MB/s"])
def test_what_is_no_rate_is_refused(text):
    with pytest.raises(ConfigError, match="want a rate such as"):
        parse_rate(text)


@pytest.mark.parametrize("text", ["", "256 KiB/s", "-1", "big"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ConfigError, match="want a size such as"):
        parse_size(text)


@pytest.mark.parametrize("text", ["20 Mbit/s", "1.5 Gbit/s", "64 kbit/s", "8 bit/s", "72 Pbit/s"])
def test_rates_are_written_as_they_are_read(text):
    assert format_rate(parse_rate(text)) == text


def test_sizes_are_written_for_people():
    assert [format_size(n) for n in (12, 2048, 3 << 20, 5 << 30)] == ["12 B", "2.00 KiB", "3.00 MiB", "5.00 GiB"]
