"""The types of settings: how each is read from a file, a variable or a flag, and what it wants where it cannot be.

The value of a field is what the text means, a number of bytes or an address; `str` of it is a text that means the same.
"""

import json
import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, PlainValidator

from gradwire_common.errors import ConfigError
from gradwire_common.settings.clip import ClipNorm
from gradwire_common.settings.names import check_name
from gradwire_common.settings.waits import Deadline, Quorum, Sampled
from gradwire_common.transport.address import Address, parse_address
from gradwire_common.units import (
    AUTO,
    Rate,
    Size,
    parse_rate_limit,
    parse_seconds,
    parse_size,
    parse_size_limit,
)

FROM_INPUT = "-"  # an address that is read from standard input
MAX_FLOAT = 1e300  # of an option


def read_by(parse: Callable[[Any], object], *kinds: type) -> PlainValidator:
    """Return what makes a field hold what `parse` reads; a value that is one of `kinds` already stays as it is."""

    def read(value: Any) -> object:
        try:
            return value if isinstance(value, kinds) else parse(value)
        except ConfigError as error:
            raise ValueError(str(error)) from None

    return PlainValidator(read)


def _name(text: str) -> str:
    try:
        return check_name("name", text)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _server(text: Any) -> Address | str:
    return FROM_INPUT if text == FROM_INPUT else parse_address(text)


def _listen(text: Any) -> Address:
    return parse_address(text, listening=True)


def _scraped(text: Any) -> Address:
    address = parse_address(text, listening=True)
    if address.path:
        raise ConfigError(f"got {text!r}, want HOST:PORT, no unix socket")
    return address


def _memory(text: Any) -> Size | str:
    return AUTO if text == AUTO else parse_size(text)


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


Name = Annotated[str, AfterValidator(_name)]
RateLimit = Annotated[Rate, read_by(parse_rate_limit, Rate)]
SizeLimit = Annotated[Size, read_by(parse_size_limit, Size)]
SizeValue = Annotated[Size, read_by(parse_size, Size)]
Memory = Annotated[Size | Literal["auto"], read_by(_memory, Size)]
Server = Annotated[Address | Literal["-"], read_by(_server, Address)]
Listen = Annotated[Address, read_by(_listen, Address)]
ListenTcp = Annotated[Address, read_by(_scraped, Address)]
Seconds = Annotated[float, read_by(parse_seconds)]
QuorumValue = Annotated[Quorum, read_by(Quorum.parse, Quorum)]
SampledValue = Annotated[Sampled, read_by(Sampled.parse, Sampled)]
DeadlineValue = Annotated[Deadline, read_by(Deadline.parse, Deadline)]
ClipNormValue = Annotated[ClipNorm, read_by(ClipNorm.parse, ClipNorm)]
Options = Annotated[dict[str, Any], read_by(_json)]
LogLevel = Literal["debug", "info", "warning", "error"]
