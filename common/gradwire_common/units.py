"""Rates and sizes as people write them: "20 Mbit/s", "256 KiB"."""

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
