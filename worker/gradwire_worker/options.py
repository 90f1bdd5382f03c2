"""What a user may give a RemoteOptimizer: options of parameter groups, settings of the method."""

from collections.abc import Mapping
from typing import Any

from gradwire_common.errors import UsageError
from gradwire_common.methods.registry import DEFAULT, build_method


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
    """Return the options of the method that are given; bits alone imply the uniform quantiser.

    Raises:
        ConfigError: a value that cannot be; names it.
    """
    overrides = {name: value for name, value in given.items() if value is not None}
    if "bits" in overrides:
        overrides.setdefault("quantizer", "uniform")
    if "quantizer" in overrides:
        overrides["method"] = DEFAULT
    build_method(DEFAULT, {name: value for name, value in overrides.items() if name != "method"})
    return overrides
