"""Rates and sizes as people write them: "20 Mbit/s", "256 KiB"."""

import math
import re
from collections.abc import Mapping

from gradwire_common.errors import ConfigError

_SIZES = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_RATES = {"bit/s": 1, "kbit/s": 1000, "mbit/s": 1000**2, "gbit/s": 1000**3}
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z/]*)\s*")


def parse_size(text: str | int) -> int:
    """Return the bytes that `text` names, such as "256 KiB", "4 MB" or 1000.

    Raises:
        ConfigError: if `text` is no size.
    """
    return round(_parse(text, _SIZES, "a size such as '256 KiB' or '4 MB'"))


def parse_rate(text: str | int | float) -> float:
    """Return the bytes per second that `text` names, such as "20 Mbit/s", "3 MB/s" or 2500000 (bytes per second).

    Raises:
        ConfigError: if `text` is no rate.
    """
    bytes_per_second = {f"{unit}/s": float(factor) for unit, factor in _SIZES.items() if unit}
    bits_per_second = {unit: factor / 8 for unit, factor in _RATES.items()}
    return _parse(text, {"": 1.0} | bytes_per_second | bits_per_second, "a rate such as '20 Mbit/s' or '3 MB/s'")


def parse_quorum(text: str | int, workers: int) -> int:
    """Return the pushes that `text` asks for, of `workers`: "all", a share such as "75 %", or a number of pushes.

    Raises:
        ConfigError: if it is none of these, or out of range.
    """
    text = str(text).strip()
    if text == "all":
        return workers
    number, percent, rest = text.partition("%")
    try:
        share = float(number) / 100 if percent else 0.0
        count = math.ceil(share * workers - 1e-9) if percent else int(number)
    except ValueError:
        count = 0
    if count < 1 or rest or share > 1:
        raise ConfigError(f"got {text!r}, want all, a share such as '75 %', or a number of pushes from 1")
    return count


def parse_deadline(text: str | int | float) -> float | str | None:
    """Return the seconds that `text` names; None for "none", and "adaptive" for itself.

    Raises:
        ConfigError: if it is none of these.
    """
    if text in ("none", "adaptive"):
        return None if text == "none" else "adaptive"
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise ConfigError(f"got {text!r}, want none, adaptive, or a number of seconds above 0")
    return seconds


def format_size(n_bytes: float) -> str:
    """Write bytes for people: "1.50 MiB"."""
    for unit in ("B", "KiB", "MiB"):
        if abs(n_bytes) < 1024:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.2f} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.2f} GiB"


def format_rate(bytes_per_second: float) -> str:
    """Write a rate for people: "20 Mbit/s"."""
    bits = bytes_per_second * 8
    for unit, factor in reversed(_RATES.items()):
        if bits >= factor:
            return f"{bits / factor:.4g} {unit.capitalize() if factor > 1000 else unit}"
    return f"{bits:.4g} bit/s"


def _parse(text: str | int | float, factors: Mapping[str, float], want: str) -> float:
    match = _QUANTITY.fullmatch(str(text))
    factor = factors.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise ConfigError(f"got {text!r}, want {want}")
    return float(match[1]) * factor
