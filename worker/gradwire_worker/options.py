"""What a user may give a RemoteOptimizer: options of parameter groups, settings of the method."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from gradwire_common.errors import ConfigError, UsageError
from gradwire_common.methods.method import Method
from gradwire_common.units import AUTO


class ParameterGroup(dict[str, Any]):
    """A parameter group that says where the options are that it lacks."""

    def __missing__(self, key: str) -> Any:
        raise UsageError(
            f"param_groups have no {key!r}: the optimizer and its schedule belong to the server (its settings "
            "optimizer, lr, schedule); give param_groups with the option to override it"
        )


def options_of(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a parameter group holds beside its parameters."""
    return {name: value for name, value in group.items() if name != "params"}


def checked_overrides(**given: Any) -> dict[str, Any]:
    """Return the settings of the method that are given; bits alone imply the uniform quantiser, "auto" its budgets.

    Raises:
        ConfigError: a value that cannot be; names it.
    """
    overrides = {name: value for name, value in given.items() if value is not None}
    if "bits" in overrides:
        overrides.setdefault("quantizer", "uniform")
        overrides["auto"] = overrides["bits"] == AUTO
        if overrides["auto"]:
            del overrides["bits"]
    overridden(Method(), overrides)
    return overrides


def overridden(base: Method, overrides: Mapping[str, Any]) -> Method:
    """Return `base` with some settings replaced.

    Raises:
        ConfigError: a value that cannot be; names it.
    """
    try:
        return Method.model_validate({**base.model_dump(), **overrides})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        want = first["msg"].removeprefix("Input should be ")
        raise ConfigError(f"{'.'.join(map(str, first['loc']))}: got {first['input']!r}, want {want}") from None
