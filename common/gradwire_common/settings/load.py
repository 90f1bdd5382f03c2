"""Where settings come from: a TOML file, GRADWIRE_* variables, flags, the later winning. Unknown names are errors."""

import difflib
import os
import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from gradwire_common.errors import ConfigError
from gradwire_common.foreign_text import printable
from gradwire_common.settings.section import Section
from gradwire_common.settings.wrong_value import one_line

S = TypeVar("S", bound=Section)

ENV_PREFIX = "GRADWIRE_"
OTHER_VARIABLES = (  # that gradwire reads and are no settings
    "GRADWIRE_PORTABLE",
    "GRADWIRE_PARENT_PID",
    "GRADWIRE_LOCK_DESCRIPTOR",
    "GRADWIRE_NODE",
    "GRADWIRE_NODES",
    "GRADWIRE_HEAD",
)
# Kubernetes and Docker set these in every container for a service that is called gradwire, gradwire-server ...
_OF_SERVICES = re.compile(r"GRADWIRE_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)\w*)?)")


def load(kind: type[S], sections: Mapping[str, type[Section]], file: Path | None, flags: Mapping[str, Any]) -> S:
    """Return the settings of `file`, then the environment, then `flags`, the later winning.

    Args:
        kind: the model of all settings.
        sections: the parts that its fields come from, by name.
        file: a TOML file, or None.
        flags: texts or values by the names of settings.

    Raises:
        ConfigError: a name is unknown or a value wrong; says which, what it got and what it wants.
    """
    from_file = read_file(file, {name: each.model_fields for name, each in sections.items()}) if file else {}
    later = {**read_environment(kind.model_fields), **flags}
    try:
        return kind(**{**from_file, **later})
    except (ValidationError, ConfigError) as error:
        told = one_line(error) if isinstance(error, ValidationError) else str(error)
        name = re.split("[.:]", told, maxsplit=1)[0]  # of the setting: errors begin with it
        where = f"{file}: " if name in from_file and name not in later else ""
        raise ConfigError(where + told) from None


def read_file(file: Path, sections: Mapping[str, Collection[str]]) -> dict[str, Any]:
    """Return the settings of a TOML file by name, those of a section's table and those that stand in none.

    Args:
        file: where it is.
        sections: names of the settings of each section.

    Raises:
        ConfigError: it cannot be read, is no TOML, or has a name that is no setting, or one twice.
    """
    known = {name: section for section, names in sections.items() for name in names}
    settings: dict[str, Any] = {}
    for name, value in _parsed(file).items():
        table = value if name in sections and isinstance(value, dict) else None
        for each, given in [(name, value)] if table is None else table.items():
            if table is None and each not in known:
                raise ConfigError(f"{file}: unknown setting {each!r}; {did_you_mean(each, {*known, *sections})}")
            if table is not None and each not in sections[name]:
                instead = f"it belongs in [{known[each]}]" if each in known else did_you_mean(each, sections[name])
                raise ConfigError(f"{file}: {name}.{printable(each)}: unknown setting; {instead}")
            if each in settings:
                raise ConfigError(f"{file}: {each}: got it in [{known[each]}] and outside of it, want it in one place")
            settings[each] = given
    return settings


def _parsed(file: Path) -> dict[str, Any]:
    """Return what a TOML file has. Raises ConfigError where it cannot be read or is no TOML."""
    try:
        return tomllib.loads(file.read_bytes().decode("utf-8-sig").replace("\r\n", "\n"))
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}; want a readable TOML file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{file}: bad TOML: got byte 0x{error.object[error.start]:02x} at {error.start}, want text in UTF-8"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: bad TOML: {printable(str(error))}") from None


def read_environment(names: Collection[str]) -> dict[str, str]:
    """Return what GRADWIRE_* variables set; an empty one sets nothing.

    Raises:
        ConfigError: a variable is called so and is none that gradwire knows.
    """
    variables = {ENV_PREFIX + name.upper(): name for name in names}
    found = {}
    for variable, text in os.environ.items():
        if not variable.startswith(ENV_PREFIX) or not text or variable in OTHER_VARIABLES:
            continue
        if variable in variables:
            found[variables[variable]] = text
        elif not _OF_SERVICES.fullmatch(variable):
            raise ConfigError(
                f"environment: {variable} is no setting; {did_you_mean(variable, variables)} (where it is not meant "
                f"for gradwire, which reads every {ENV_PREFIX}* variable, unset it or give it another name)"
            )
    return found


def did_you_mean(name: str, known: Collection[str]) -> str:
    """Return "did you mean 'x'?" where a known name is much like `name`, and otherwise what there is."""
    close = difflib.get_close_matches(name.lower().replace("-", "_"), [each.lower() for each in known], 1, 0.75)
    if close:
        return f"did you mean {next(each for each in known if each.lower() == close[0])!r}?"
    return f"want one of {', '.join(sorted(known))}"
