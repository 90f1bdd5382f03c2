"""Rates, sizes and times as people write them: "20 Mbit/s", "256 KiB", "5 min"; each is read once, where it comes in.

Every size and rate has its unit. b stands for bits, B for bytes; case matters nowhere else: "Mb/s", "mb/s", "mbit" and
"Mbps" are megabits per second, "MB/s" and "MBps" megabytes. k, M, G, T, P are powers of 1,000; Ki, Mi, Gi, Ti, Pi of
1,024.
"""

import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

from gradwire_common.errors import ConfigError

T = TypeVar("T")

NONE = "none"  # in texts: no limit, no deadline
AUTO: Final = "auto"  # in texts and values: gradwire finds a value
MAX_BYTES = 2**53  # of a size, and of a rate per second: what a double holds to the byte, and the wire with room to add
MIN_SECONDS, MAX_SECONDS = 1e-3, 30 * 86400.0  # milliseconds travel in 32 bits, which hold 49 days

_NUMBER = r"\s*((?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)\s*"
_PREFIX = r"(?:([kmgtp])(i?))?"
_SIZE = re.compile(rf"{_NUMBER}(?i:{_PREFIX}(?-i:B|(?i:bytes?)))\s*")
_RATE = re.compile(
    rf"{_NUMBER}(?i:{_PREFIX}(?-i:([bB])|(?i:(bit|byte)s?))(\s*/\s*s(?:ec(?:ond)?)?|ps|\s+per\s+second)?)\s*"
)
_TIME = re.compile(rf"{_NUMBER}(?i:(ms|s|sec|seconds?|min|minutes?|h|hours?)?)\s*")
_BARE = re.compile(_NUMBER)
_SIZE_IN_BITS = re.compile(rf"{_NUMBER}((?:[kKmMgGtTpP][iI]?)?)b")
_PREFIXES = "kmgtp"
_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_EXAMPLE = 40  # characters of a wrong text that a message repeats
_MAX_DIGITS = 5  # characters of a number before its unit


class Size(int):
    """Bytes. `str` writes them so that `parse_size` reads the same: "256 KiB"; "none" for 0, which is no limit."""

    __slots__ = ()

    def __str__(self) -> str:
        exact = [f"{int(self)} B"]
        for power, prefix in enumerate(_PREFIXES.upper(), 1):
            exact += [f"{self // 1024**power} {prefix}iB"] if self % 1024**power == 0 else []
            exact += [f"{self // 1000**power} {'k' if power == 1 else prefix}B"] if self % 1000**power == 0 else []
        return min(exact, key=len) if self else NONE


class Rate(int):
    """Bytes per second. `str` writes them so that `parse_rate` reads the same: "20 Mbit/s"; "none" for 0, no limit."""

    __slots__ = ()

    def __str__(self) -> str:
        for power, prefix in reversed(list(enumerate(["", "k", "M", "G", "T", "P"]))):
            number = f"{self * 8 / 1000**power:.12g}"
            if len(number) <= _MAX_DIGITS and float(number) >= 1 and round(float(number) * 1000**power / 8) == self:
                return f"{number} {prefix}bit/s"
        return f"{int(self)} B/s" if self else NONE


def parse_size(text: object) -> Size:
    """Return the bytes that `text` names, such as "256 KiB" or "4 MB".

    Raises:
        ConfigError: if `text` is no size with its unit, less than a byte, or more than MAX_BYTES.
    """
    text = str(text)
    match = _SIZE.fullmatch(text)
    if match is None:
        if found := _SIZE_IN_BITS.fullmatch(text.strip()):
            meant = f"'{found[1]} {found[2].capitalize()}B'"
            raise ConfigError(f"got {quoted(text)}, want bytes such as {meant}: b stands for bits")
        raise _no_quantity(text, "a size such as '256 KiB' or '4 MB'", "MB", "KiB")
    return Size(_whole(text, float(match[1]) * _factor(match[2], match[3]), "1 B", "8 PiB"))


def parse_rate(text: object) -> Rate:
    """Return the whole bytes per second that `text` names, such as "20 Mbit/s" or "3 MB/s".

    Raises:
        ConfigError: if `text` is no rate with its unit, rounds to no byte per second, or is more than MAX_BYTES.
    """
    text = str(text)
    match = _RATE.fullmatch(text)
    bits = match is not None and (match[4] == "b" or (match[5] or "").lower() == "bit")
    if match is None or not (match[6] or (bits and match[5])):  # "20 mbit" is a rate, as for tc; "20 MB" is a size
        raise _no_quantity(text, "a rate such as '20 Mbit/s' or '3 MB/s'", "Mbit/s", "MB/s")
    value = float(match[1]) * _factor(match[2], match[3]) / (8 if bits else 1)
    return Rate(_whole(text, value, "8 bit/s, which is 1 B/s", "72 Pbit/s"))


def parse_rate_limit(text: object) -> Rate:
    """Return the rate that `text` names; 0 for "none", which lifts the limit.

    Raises:
        ConfigError: if it is neither a rate nor "none".
    """
    return Rate(0) if is_none(text) else _liftable(parse_rate, text)


def parse_size_limit(text: object) -> Size:
    """Return the size that `text` names; 0 for "none", which lifts the limit.

    Raises:
        ConfigError: if it is neither a size nor "none".
    """
    return Size(0) if is_none(text) else _liftable(parse_size, text)


def is_none(text: object) -> bool:
    """Return whether `text` says "none": no limit, no deadline."""
    return str(text).strip().lower() == NONE


def parse_seconds(text: object, least: float = MIN_SECONDS) -> float:
    """Return the seconds that `text` names, such as "5 s", "500 ms", "5 min" or 5: a bare number is in seconds.

    Raises:
        ConfigError: if `text` is no time, or not from `least` to MAX_SECONDS.
    """
    match = _TIME.fullmatch(str(text))
    if match is None or isinstance(text, bool):
        raise ConfigError(f"got {quoted(text)}, want seconds, or a time such as '500 ms' or '5 min'")
    unit = (match[2] or "s").lower()
    seconds = float(match[1]) * (_SECONDS["ms"] if unit == "ms" else _SECONDS[unit[0]])
    if not least <= seconds <= MAX_SECONDS:
        raise ConfigError(
            f"got {quoted(text)}, want a time from {least * 1e3:g} ms to 30 days, such as '500 ms' or '5 min'"
        )
    return seconds


def named(name: str, parse: Callable[[Any], T], text: object) -> T:
    """Return what `parse` reads of `text`; its ConfigError begins with the `name` of the setting."""
    try:
        return parse(text)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None


def format_size(n_bytes: float) -> str:
    """Write bytes for people: "1.50 MiB"."""
    for unit in ("B", "KiB", "MiB"):
        if abs(n_bytes) < 1024:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.2f} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.2f} GiB"


def format_seconds(seconds: float) -> str:
    """Write a time for people: "0:42", "12:05", "3:04:05"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def format_rate(bytes_per_second: float) -> str:
    """Write a rate for people: "20 Mbit/s"."""
    bits = bytes_per_second * 8
    for unit, factor in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if bits >= factor:
            return f"{bits / factor:.4g} {unit}bit/s"
    return f"{bits:.4g} bit/s"


def _liftable(parse: Callable[[object], T], text: object) -> T:
    try:
        return parse(text)
    except ConfigError as error:
        raise ConfigError(f"{error}; {NONE} lifts the limit") from None


def _factor(prefix: str | None, binary: str | None) -> float:
    """Return what a prefix such as "K" or "Mi" multiplies by; both letters are None where there is no prefix."""
    return 1.0 if not prefix else float((1024 if binary else 1000) ** (_PREFIXES.index(prefix.lower()) + 1))


def _whole(text: str, value: float, least: str, most: str) -> int:
    """Return `value`, which `text` names, as a whole number of bytes.

    Raises:
        ConfigError: if it rounds to 0 or is more than MAX_BYTES.
    """
    if value > MAX_BYTES:
        raise ConfigError(f"got {quoted(text)}, want at most {most}")
    if round(value) < 1:
        raise ConfigError(f"got {quoted(text)}, want at least {least}")
    return round(value)


def _no_quantity(text: str, want: str, *units: str) -> ConfigError:
    if found := _BARE.fullmatch(text):
        first, second = (f"'{found[1]} {unit}'" for unit in units)
        return ConfigError(f"got {quoted(text)}, want its unit too, such as {first} or {second}")
    return ConfigError(f"got {quoted(text)}, want {want}")


def quoted(text: object) -> str:
    """Quote what was got, cut where it is long."""
    shown = repr(str(text) if isinstance(text, float) else text)
    return shown if len(shown) <= _EXAMPLE + 5 else f"{shown[:_EXAMPLE]}...{shown[-1]}"
