"""Numbers and texts that users give, also as tensors and arrays of one entry; knows no torch."""

import reprlib
from collections.abc import Mapping
from typing import Any, TypeVar

from gradwire_common.errors import UsageError
from gradwire_common.transport.bounds import SETTINGS

T = TypeVar("T")


def whole_number(name: str, value: object, least: int, most: int) -> int:
    """Return `value` as an int: any number, or tensor or array of one, that is whole and from `least` to `most`.

    Raises:
        UsageError: it is something else; names it.
    """
    number = _number_in(value)
    if not isinstance(number, int | float) or not least <= number <= most or int(number) != number:
        raise UsageError(f"{name}: got {_told(value)}, want a whole number from {least} to {most}")
    return int(number)


def loss_number(value: object, name: str = "loss") -> float:
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
    raise UsageError(f"{name}: got {_told(value)}, want one number, such as the mean over the batch")


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
    texts = {name: str(value) for name, value in settings.items()}
    if wrong := SETTINGS.problem(texts):
        raise UsageError(f"settings: {wrong}")
    return texts


def option_object(name: str, given: Any, kind: type[T], method: str = "") -> Any:
    """Return an option object, the default one where none is given.

    Args:
        name: of the argument.
        given: what the user gave, or None.
        kind: the default's class.
        method: where one of another class will do that has this method; empty where none will.

    Raises:
        UsageError: it is something else.
    """
    if given is None:
        return kind()
    if not isinstance(given, kind) and not (method and callable(getattr(given, method, None))):
        raise UsageError(f"{name}: got {_told(given)}, want one such as {kind.__name__}()")
    return given


def _number_in(value: Any) -> object:
    """Return the number that a tensor or array of one entry holds, None for others; anything else as it is."""
    if hasattr(value, "item") and hasattr(value, "shape"):
        try:
            value = value.item()
        except (RuntimeError, ValueError):  # of many entries, or of none that have values
            return None
    return None if isinstance(value, bool) else value


def _told(value: Any) -> str:
    if hasattr(value, "item") and hasattr(value, "shape") and _number_in(value) is None:
        return f"a {type(value).__name__} of shape {list(value.shape)}"
    return reprlib.repr(value)
