"""Which arms a study has: a TOML file of arms, each at every point of a grid."""

import tomllib
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from gradwire_common.errors import ConfigError
from gradwire_study.frontier.arm import Arm

SHORT, FULL = "short", "full"
_HERE = Path(__file__).parent / "arms"
_GRID = ("network", "workers", "local_steps", "split", "stateless", "exchanges", "seed")  # may have several values


def load_study(name: str) -> list[Arm]:
    """Return the arms of a study, each once, before each the float32 exchanges that it is set against.

    The file has a table `[grid]`, values or lists of values of what makes a setting, and a table `[[arms]]` for each
    arm, with fields of `Arm`; an arm's own values take the place of the grid's.

    Args:
        name: "short", "screening", "full", or a path.

    Raises:
        ConfigError: no such file, or an arm that cannot be; names it.
    """
    path = _HERE / f"{name}.toml" if f"{name}.toml" in _names() else Path(name)
    try:
        told = tomllib.loads(path.read_text())
    except OSError as error:
        known = ", ".join(each.removesuffix(".toml") for each in _names())
        raise ConfigError(
            f"study: got {name!r}, which cannot be read: {error.strerror}; want {known} or a file"
        ) from None
    except ValueError as error:
        raise ConfigError(f"study: {path}: {error}") from None
    grid = told.get("grid", {})
    if not told.get("arms"):
        raise ConfigError(f"study: {path} has no [[arms]], want at least one")
    arms = [arm for each in told["arms"] for arm in _expanded({**grid, **each})]
    found: dict[str, Arm] = {}
    for arm in arms:
        for each in (arm.reference(), arm):
            found.setdefault(each.key, each)
    return list(found.values())


def _names() -> list[str]:
    return sorted(path.name for path in _HERE.glob("*.toml"))


def _expanded(values: Mapping[str, Any]) -> Iterator[Arm]:
    """Yield the arm at every point of its grid; seeds change fastest, so that settings are complete early."""
    axes = [values[name] if isinstance(values.get(name), list) else [values.get(name)] for name in _GRID]
    for point in product(*axes):
        given = {name: value for name, value in zip(_GRID, point, strict=True) if value is not None}
        yield Arm.of({**values, **given})
