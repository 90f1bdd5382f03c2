"""The types of settings: how each is read from a file, a variable or a flag, and what it wants where it cannot be."""

import json
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, PlainValidator

from gradwire_common.errors import ConfigError
from gradwire_common.methods.method import BITS_MAX, BITS_MIN
from gradwire_common.settings.names import check_name
from gradwire_common.transport.address import parse_address
from gradwire_common.units import (
    NO_LIMIT,
    is_no_limit,
    parse_deadline,
    parse_limit,
    parse_quorum,
    parse_seconds,
    parse_size,
)

AUTO = "auto"
FROM_INPUT = "-"  # an address that is read from standard input
MAX_FLOAT = 1e300  # of an option


def _checked(parse: Callable[[str], object]) -> AfterValidator:
    def check(text: str) -> str:
        try:
            parse(text)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return NO_LIMIT if is_no_limit(text) else text

    return AfterValidator(check)


def _name(text: str) -> str:
    try:
        return check_name("name", text)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _server(text: str) -> str:
    return text if text == FROM_INPUT else _address(text)


def _listen(text: str) -> str:
    return _address(text, listening=True)


def _address(text: str, *, listening: bool = False) -> str:
    try:
        return str(parse_address(text, listening=listening))
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _seconds(value: Any) -> float:
    try:
        return parse_seconds(value)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _json(value: Any) -> Any:
    try:
        options = json.loads(value) if isinstance(value, str) else value
        if isinstance(options, dict) and _finite(options):
            return options
    except (ValueError, RecursionError):
        pass
    raise ValueError('a JSON object of finite numbers such as {"momentum": 0.9}') from None


def _finite(value: Any) -> bool:
    """Say whether all numbers in a value are finite, and none has more digits than a float can hold."""
    if isinstance(value, dict | list | tuple):
        return all(map(_finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, int | float) or (abs(value) < MAX_FLOAT and not math.isnan(value))


def _bits(value: Any) -> float | str:
    with suppress(TypeError, ValueError, OverflowError):
        if value == AUTO or BITS_MIN <= (value := float(value)) <= BITS_MAX:
            return value  # type: ignore[no-any-return]
    raise ValueError(f"a number from {BITS_MIN:g} to {BITS_MAX:g}, or {AUTO}")


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Bits = Annotated[float | Literal["auto"], PlainValidator(_bits)]
Name = Annotated[str, AfterValidator(_name)]
Rate = Annotated[str, BeforeValidator(_text), _checked(lambda text: parse_limit(text, rate=True))]
Size = Annotated[str, BeforeValidator(_text), _checked(parse_size)]
OwnWindow = Annotated[str, BeforeValidator(_text), _checked(lambda text: parse_limit(text, rate=False))]
Memory = Annotated[str, BeforeValidator(_text), _checked(lambda text: text == AUTO or parse_size(text))]
Server = Annotated[str, AfterValidator(_server)]
Listen = Annotated[str, AfterValidator(_listen)]
Seconds = Annotated[float, BeforeValidator(_seconds)]
Quorum = Annotated[str, BeforeValidator(_text), _checked(lambda text: parse_quorum(text, 1))]
Deadline = Annotated[str, BeforeValidator(_text), _checked(parse_deadline)]
Options = Annotated[dict[str, Any], BeforeValidator(_json)]
LogLevel = Literal["debug", "info", "warning", "error"]
