"""Where settings come from beside flags: a TOML file and GRADWIRE_* variables. A name that is none is an error."""

import difflib
import os
import re
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from gradwire_common.errors import ConfigError
from gradwire_common.foreign_text import printable

ENV_PREFIX = "GRADWIRE_"
OTHER_VARIABLES = (  # that gradwire reads and are no settings
    "GRADWIRE_PORTABLE",
    "GRADWIRE_PARENT_PID",
    "GRADWIRE_LOCK_DESCRIPTOR",
)
# Kubernetes and Docker set these in every container for a service that is called gradwire, gradwire-server ...
_OF_SERVICES = re.compile(r"GRADWIRE_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)\w*)?)")


def read_file(file: Path, names: Collection[str]) -> dict[str, Any]:
    """Return the settings of a TOML file.

    Raises:
        ConfigError: it cannot be read, is no TOML, or has a name that is not one of `names`.
    """
    try:
        settings = tomllib.loads(file.read_bytes().decode("utf-8-sig").replace("\r\n", "\n"))
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}; want a readable TOML file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{file}: bad TOML: got byte 0x{error.object[error.start]:02x} at {error.start}, want text in UTF-8"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: bad TOML: {printable(str(error))}") from None
    for name, value in settings.items():
        if name not in names:
            raise ConfigError(f"{file}: unknown setting {name!r}; {did_you_mean(name, names)}")
        if isinstance(value, dict) and not name.endswith("_options"):
            raise ConfigError(f"{file}: {name}: got a table, want a value; settings stand in no table, but options do")
    return settings


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
