import math

import pytest

from gradwire.links.profile import PRESETS, Link, parse_link
from gradwire.links.wireless import WirelessChannel
from gradwire_common.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("20 Mbit/s, 50 ms", Link(2.5e6, 2.5e6, 0.05)),
        ("100 Mbit/s", Link(12.5e6, 12.5e6, 0)),
        ("5 Mbit/s up, 50 Mbit/s down, 20 ms", Link(625e3, 6.25e6, 0.02)),
        ("30 ms", Link(0, 0, 0.03)),
        ("adsl", PRESETS["adsl"]),
        ("satellite", PRESETS["satellite"]),
    ],
)
def test_a_link_is_read_as_people_write_it(text, link):
    assert parse_link(text) == link


@pytest.mark.parametrize(
    "text", ["", "fast", "20 Mbit/s, 50 s", "20 MB", "wireless: snr", "wireless: n 500", "wireless: foo 3"]
)
def test_what_is_no_link_is_refused(text):
    with pytest.raises(ConfigError, match="want"):
        parse_link(text)


def test_a_link_is_written_for_people():
    assert str(parse_link("20 Mbit/s, 50 ms")) == "20 Mbit/s, 50 ms"
    assert str(PRESETS["adsl"]) == "1 Mbit/s up, 16 Mbit/s down, 15 ms"


def test_a_wireless_link_has_the_rate_of_its_channel():
    link = parse_link("wireless: snr 10 dB, n 500, error 1e-3, uses 1e6")
    assert link.rate_up == WirelessChannel(snr=10).rate() / 8
    assert link.rate_up == link.rate_down


def test_the_rate_is_the_normal_approximation():
    # n = 500, S = 1 (0 dB), error 1e-3: C = 0.5, V = 3/8 log2(e)^2, Qinv(1e-3) = 3.0902
    got = WirelessChannel(snr=1.0, n=500, error=1e-3).bits_per_use()
    expected = 0.5 - math.sqrt(0.375 * 1.442695**2 / 500) * 3.090232 + math.log2(500) / 1000
    assert got == pytest.approx(expected, abs=1e-6)


def test_the_rate_tends_to_capacity_as_blocks_grow():
    assert WirelessChannel(snr=3.0, n=1e12).bits_per_use() == pytest.approx(1.0, abs=1e-4)


def test_an_eavesdropper_costs_rate_and_the_rate_is_never_below_zero():
    open_rate = WirelessChannel(snr=10.0).bits_per_use()
    secret_rate = WirelessChannel(snr=10.0, eavesdropper=1.0).bits_per_use()
    assert 0 < secret_rate < open_rate - 0.5
    assert WirelessChannel(snr=10.0, eavesdropper=100.0).bits_per_use() == 0


def test_a_channel_that_carries_nothing_is_no_link():
    with pytest.raises(ConfigError, match="carries no bits"):
        parse_link("wireless: snr 10 dB, eavesdropper 20 dB")


@pytest.mark.parametrize("field", [{"snr": 0}, {"error": 1.0}, {"leakage": 0.0}, {"n": -1}, {"uses": math.inf}])
def test_a_channel_that_cannot_be_is_refused(field):
    with pytest.raises(ConfigError, match=f"wireless: {next(iter(field))} is"):
        WirelessChannel(**{"snr": 1.0, **field})
