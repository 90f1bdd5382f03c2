"""What a user may give a RemoteOptimizer: numbers, options of parameter groups, settings of the method."""

import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from gradwire_common.errors import ConfigError, UsageError
from gradwire_common.methods.method import Method
from gradwire_common.settings.config import AUTO

MAX_SAMPLES = 2**53  # every whole number up to it is exact as a double, and a sum of many fits the wire's 64 bits
MAX_SLOT = 2**32 - 1  # what the wire's 32 bits hold


def whole_number(name: str, value: object, least: int, most: int) -> int:
    """Return `value` as an int: any number, or tensor or array of one, that is whole and from `least` to `most`.

    Raises:
        UsageError: it is something else; names it.
    """
    number = _number_in(value)
    if not isinstance(number, int | float) or not least <= number <= most or int(number) != number:
        raise UsageError(f"{name}: got {_told(value)}, want a whole number from {least} to {most}")
    return int(number)


def loss_number(value: object) -> float:
    """Return a loss, a number or a tensor or array of one, as a float; NaN for None.

    Raises:
        UsageError: it is something else.
    """
    number = float("nan") if value is None else _number_in(value)
    try:
        if isinstance(number, int | float):
            return float(number)
    except OverflowError:
        pass
    raise UsageError(f"loss: got {_told(value)}, want one number, such as the mean over the batch")


def text_settings(settings: object) -> dict[str, str]:
    """Return `settings`, names and texts, as a dict; numbers as texts.

    Raises:
        UsageError: it is something else.
    """
    if settings is None:
        return {}
    if not isinstance(settings, Mapping):
        raise UsageError(f"settings: got {_told(settings)}, want a dict of names and values such as {{'seed': '0'}}")
    for name, value in settings.items():
        if not isinstance(name, str) or not isinstance(value, str | int | float):
            raise UsageError(f"settings: got {_told(name)}: {_told(value)}, want a text or a number by its name")
    return {name: str(value) for name, value in settings.items()}


def _number_in(value: object) -> object:
    """Return the number that a tensor or array of one holds, None for one of many; anything else as it is."""
    if isinstance(value, torch.Tensor):
        value = None if value.is_meta or value.numel() != 1 else value.item()
    elif isinstance(value, np.ndarray | np.generic):
        value = value.item() if value.size == 1 else None
    return None if isinstance(value, bool) else value


def _told(value: object) -> str:
    if isinstance(value, torch.Tensor | np.ndarray) and _number_in(value) is None:
        return f"a {type(value).__name__} of shape {list(value.shape)}"
    return reprlib.repr(value)


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
