"""A link as people describe it: "20 Mbit/s, 50 ms", "adsl", or a wireless channel."""

import math
import re
from dataclasses import dataclass

from gradwire.links.wireless import WirelessChannel
from gradwire_common.errors import ConfigError
from gradwire_common.settings.config import Config
from gradwire_common.units import Rate, Size, format_rate, parse_rate, parse_seconds, parse_size

MAX_DELAY = 10.0  # seconds one way; more is a slip of the pen
_TIME = re.compile(r"[-+.0-9eE]+\s*(ms|s)")


@dataclass(frozen=True, slots=True)
class Link:
    """One worker's way to the server.

    Attributes:
        rate_up, rate_down: bytes per second from worker to server and back; 0 for no limit.
        delay: seconds that a byte travels one way.
    """

    rate_up: float = 0.0
    rate_down: float = 0.0
    delay: float = 0.0

    def __str__(self) -> str:
        """Return the link as `parse_link` reads it."""
        delay = f"{self.delay * 1000:g} ms"
        if self.rate_up == self.rate_down:
            return f"{format_rate(self.rate_up)}, {delay}" if self.rate_up else delay
        rates = [f"{format_rate(rate)} {way}" for rate, way in ((self.rate_up, "up"), (self.rate_down, "down")) if rate]
        return ", ".join([*rates, delay])


def linked(config: Config, link: Link) -> Config:
    """Return `config` with the limits that suit `link`, where it sets none: its rates, and a window that fills it.

    The burst is short: a link lets nothing pass at once, so what it did not carry while it was idle cannot be made up.
    """
    changes: dict[str, Rate | Size] = {}
    for name, rate in (("rate_up", link.rate_up), ("rate_down", link.rate_down)):
        if rate and not getattr(config, name):
            changes[name] = Rate(round(rate))
    in_flight = math.ceil(max(link.rate_up, link.rate_down) * 2 * link.delay)  # bytes of a round trip
    if in_flight > config.lookahead:
        changes["lookahead"] = Size(in_flight)
    if "burst" not in config.model_fields_set:
        changes["burst"] = LINKED_BURST
    return config.replaced(**changes)


LINKED_BURST = parse_size("34 KiB")  # two of the smallest chunks, and their framing

PRESETS = {
    "adsl": Link(rate_up=1e6 / 8, rate_down=16e6 / 8, delay=0.015),
    "4g": Link(rate_up=10e6 / 8, rate_down=30e6 / 8, delay=0.025),
    "satellite": Link(rate_up=5e6 / 8, rate_down=50e6 / 8, delay=0.3),
    "datacentre": Link(rate_up=10e9 / 8, rate_down=10e9 / 8, delay=0.0001),
}

WANT = (
    "rates and a delay such as '20 Mbit/s, 50 ms' or '5 Mbit/s up, 50 Mbit/s down, 20 ms', one of "
    f"{', '.join(PRESETS)}, or 'wireless: snr 10 dB, ...'"
)


def parse_link(text: str) -> Link:
    """Return the link that `text` describes.

    Args:
        text: a preset's name; a wireless channel ("wireless: snr 10 dB, n 500, error 1e-3, uses 1e6,
            eavesdropper 0 dB, leakage 1e-3"); or parts separated by commas: a rate for both directions or one with
            "up" or "down" after it, and a one-way delay in ms.

    Raises:
        ConfigError: if it describes none.
    """
    text = text.strip()
    if text in PRESETS:
        return PRESETS[text]
    if text.startswith("wireless:"):
        rate = WirelessChannel.parse(text.removeprefix("wireless:")).rate() / 8
        if round(rate) < 1:
            raise ConfigError(f"link: {text!r} carries no bits: its rate is {format_rate(rate)}, want at least 8 bit/s")
        return Link(rate, rate)
    told: dict[str, float] = {}
    for part in map(str.strip, text.split(",")):
        name, value = _part(part, text)
        if name in told:
            raise ConfigError(f"link: got {part!r} in {text!r} after another one of its kind, want one of each: {WANT}")
        told[name] = value
    both = told.get("both", 0.0)
    return Link(told.get("up", both), told.get("down", both), told.get("delay", 0.0))


def _part(part: str, text: str) -> tuple[str, float]:
    """Return what a part of the link `text` sets, "delay", "up", "down" or "both" rates, and its value."""
    try:
        if _TIME.fullmatch(part):
            seconds = parse_seconds(part, least=0.0)
            if seconds > MAX_DELAY:
                raise ConfigError(f"got {part!r}, want a delay of at most {MAX_DELAY:g} s one way")
            return "delay", seconds
        amount, _, direction = part.rpartition(" ")
        if direction not in ("up", "down"):
            amount, direction = part, "both"
        return direction, float(parse_rate(amount))
    except ConfigError as error:
        raise ConfigError(f"link: {error}; in {text!r}, want {WANT}") from None
