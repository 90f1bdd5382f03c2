"""A section of the settings: fields with a type, a default and a description, which are all that a setting needs."""

from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

MAX_WHOLE = 2**32 - 1  # of what travels in 32 bits
MAX_SEED = 2**63 - 1
_WANTED = {int: "a whole number", float: "a number", str: "a text", Path: "a path"}


class Section(BaseModel):
    """Settings that belong together. Values are checked once, when they come in, and never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        kind = cls.model_fields[str(info.field_name)].annotation
        wanted = [_WANTED[each] for each in (kind, *get_args(kind)) if each in _WANTED]
        if isinstance(value, bool) and wanted:
            raise ValueError(wanted[0])
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _can_be_carried(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse numbers that do not fit where they go, and text that no file can have."""
        if type(value) is int:
            most = MAX_SEED if info.field_name == "seed" else MAX_WHOLE
            if value > most:
                raise ValueError(f"a whole number of at most {most}")
        if isinstance(value, str | Path) and ("\0" in str(value) or not _is_unicode(str(value))):
            raise ValueError("a text in Unicode without NUL")
        return value


def as_written(value: Any) -> Any:
    """Return the value of a setting as a file has it: a number, boolean, text or table."""
    return value if type(value) in (bool, int, float, str, dict, type(None)) else str(value)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
