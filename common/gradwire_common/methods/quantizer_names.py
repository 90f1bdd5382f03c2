"""What a quantiser is called in settings: its format's name, or the name of float32 stored as it is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from gradwire_common.codec.format_names import format_names

STORED = "float32"  # no format but the method raw, which stores the entries' bits uncoded: the baseline


def setting_names() -> tuple[str, ...]:
    """Return the names of all formats, and that of raw storage."""
    return (*format_names(), STORED)


@dataclass(frozen=True)
class OneOf:
    """Annotates a text that must be one of `names()`, which are asked for whenever a value is checked."""

    names: Callable[[], tuple[str, ...]]

    def check(self, value: Any) -> str:
        """Return `value`, or refuse it as pydantic refuses what is none of some literals."""
        *others, last = names = self.names()
        if not isinstance(value, str) or value not in names:
            expected = f"{', '.join(map(repr, others))} or {last!r}"
            raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": expected})
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema of `check` alone."""
        return core_schema.no_info_plain_validator_function(self.check)


QuantizerName = Annotated[str, OneOf(format_names)]
QuantizerSetting = Annotated[str, OneOf(setting_names)]
