"""Flags made from the fields of `Config`, so that no setting is described twice.

Every value travels as text to `Config`, which checks files, environment and flags alike and answers in the same words.
"""

import inspect
import json
import sys
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer

from gradwire.help import MOST_USED

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from gradwire_common.settings.section import Section

Command = Callable[..., None]

MAX_METAVAR = 12  # characters of choices beside a flag; more of them stand in its description
_METAVARS = {int: "INT", float: "NUMBER", str: "TEXT", Path: "PATH", dict: "JSON"}


def with_settings(
    *sections: str,
    without: Collection[str] = (),
    only: Collection[str] = (),
    first: Sequence[str] = (),
    again: bool = False,
) -> Callable[[Command], Command]:
    """Give a command a flag for each field of some sections of `Config`, and the `Config` that they make as `config`.

    Flags are made for the command that was called alone: importing the settings takes longer than listing the commands.

    Args:
        sections: names of sections, such as "coding"; each is a panel of the help.
        without: fields that this command sets itself.
        only: the fields wanted, where they are few; empty for all.
        first: the fields that are used most, which the help shows in a panel of their own before all others.
        again: whether `--resume` without a file takes the settings of the run in RUNS/NAME.
    """

    def decorate(command: Command) -> Command:
        if command.__name__ not in sys.argv:
            return _listed(command)
        from gradwire_common.settings.config import Config

        flags = [flag for flag in flags_of(Config.sections, sections) if flag.name not in without]
        flags = [flag for flag in flags if not only or flag.name in only]
        flags = [_most_used(flag) if flag.name in first else flag for flag in flags]
        flags.sort(key=lambda flag: first.index(flag.name) if flag.name in first else len(first))
        names = {flag.name for flag in flags}
        signature = inspect.signature(command)
        own = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for name, parameter in signature.parameters.items()
            if name != "config"
        ]

        @wraps(command)
        def run(config: Path | None, **given: Any) -> None:
            chosen = {name: value for name, value in given.items() if name in names and value is not None}
            rest = {name: value for name, value in given.items() if name not in names}
            loaded = Config.load(config, chosen)
            earlier = loaded.runs / loaded.name / "config.toml"
            if again and loaded.resume and config is None and earlier.is_file():
                loaded = Config.load(earlier, chosen)
            command(config=loaded, **rest)

        return _signed(run, [*flags, *own, _file_flag()])

    return decorate


def flags_of(sections: Mapping[str, type["Section"]], chosen: Collection[str]) -> list[inspect.Parameter]:
    """Return a flag for each field of the `chosen` ones of `sections`."""
    return [
        _flag(name, field, panel.capitalize())
        for panel in chosen
        for name, field in sections[panel].model_fields.items()
    ]


def _listed(command: Command) -> Command:
    """Return a stand-in with the name and help of `command`."""

    @wraps(command)
    def stand_in() -> None:
        raise NotImplementedError

    return _signed(stand_in, [])


def _signed(command: Command, parameters: list[inspect.Parameter]) -> Command:
    """Give `command` the signature that typer makes flags from."""
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _file_flag() -> inspect.Parameter:
    option = typer.Option("--config", metavar="FILE", help="TOML file of settings; GRADWIRE_* and flags win over it")
    return _parameter("config", Annotated[Path | None, option])


def _flag(name: str, field: "FieldInfo", panel: str) -> inspect.Parameter:
    flag = "--" + name.replace("_", "-")
    switch = field.annotation is bool
    metavar, choices = _metavar(field.annotation, field.metadata), ""
    if "|" in metavar and len(metavar) > MAX_METAVAR:
        metavar, choices = "NAME", f": {metavar.replace('|', ', ')}"
    option = typer.Option(
        f"{flag}/--no-{flag[2:]}" if switch else flag,
        metavar=None if switch else metavar,
        help=f"{field.description}{choices}{_range(field)}{_default(field.default)}",
        show_default=False,
        rich_help_panel=panel,
    )
    return _parameter(name, Annotated[(bool if switch else str) | None, option])


def _most_used(flag: inspect.Parameter) -> inspect.Parameter:
    get_args(flag.annotation)[1].rich_help_panel = MOST_USED
    return flag


def _parameter(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _metavar(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """Return how the help shows what a flag takes."""
    from gradwire_common.methods.quantizer_names import OneOf

    origin, parts = get_origin(annotation), get_args(annotation)
    for each in metadata:
        if isinstance(each, OneOf):
            return "|".join(each.names())
    if origin is Annotated:
        return _metavar(parts[0])
    if origin in (Union, types.UnionType):
        return "|".join(_metavar(part) for part in parts if part is not types.NoneType)
    if origin is Literal:
        return "|".join(parts)
    return _METAVARS.get(origin or annotation) or annotation.__name__.upper()


def _range(field: "FieldInfo") -> str:
    """Return ", LOW to HIGH" where both ends are set."""
    limits = {type(each).__name__.lower(): each for each in field.metadata}
    return f", {limits['ge'].ge:g} to {limits['le'].le:g}" if {"ge", "le"} <= limits.keys() else ""


def _default(default: Any) -> str:
    """Return the default in brackets, where there is one to show."""
    if default is None or default == {}:
        return ""
    if isinstance(default, bool):
        text = "on" if default else "off"
    else:
        text = json.dumps(default) if isinstance(default, dict) else str(default)
    return f" [{text}]"
