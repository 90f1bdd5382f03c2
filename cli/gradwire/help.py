"""How `--help` looks: plain lists that fit the terminal, whole names of flags, the most used first."""

import shutil
from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

MAX_WIDTH = 110  # characters; longer lines are hard to read
NAME_WIDTH = 26  # a flag whose name and value take more has a line of its own
MOST_USED = "Most used"
OTHERS = "Options"
Function = TypeVar("Function", bound=Callable[..., Any])


class PlainApp(typer.Typer):
    """An app whose commands all have plain help."""

    def __init__(self, **options: Any):
        super().__init__(cls=PlainGroup, rich_markup_mode=None, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Function], Function]:
        """Return the decorator of a command."""
        return super().command(name, **{"cls": PlainCommand, **options})


class PlainCommand(TyperCommand):
    """A command whose flags are listed by panel, in the order in which panels come up, those of `OTHERS` last."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help in the width of the terminal."""
        _fit(formatter)
        super().format_help(ctx, formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments and flags."""
        _write_options(self, ctx, formatter)


class PlainGroup(TyperGroup):
    """The list of commands, with what each does in a whole sentence."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help in the width of the terminal."""
        _fit(formatter)
        super().format_help(ctx, formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, then the flags."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        rows = [
            (name, " ".join((command.help or "").split()))
            for name, command in commands.items()
            if command is not None and not command.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows, col_max=NAME_WIDTH)
        _write_options(self, ctx, formatter)


def _fit(formatter: Any) -> None:
    formatter.width = max(40, min(shutil.get_terminal_size().columns, MAX_WIDTH) - 1)


def _write_options(command: Any, ctx: Any, formatter: Any) -> None:
    panels: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(ctx):
        if parameter.param_type_name == "argument":
            title, record = "Arguments", (parameter.metavar or parameter.name, parameter.help or "")
        else:
            title, record = parameter.rich_help_panel or OTHERS, parameter.get_help_record(ctx)
        if record is not None:
            panels.setdefault(title, []).append(record)
    for title in sorted(panels, key=lambda title: (title == OTHERS, title != "Arguments", title != MOST_USED)):
        with formatter.section(title):
            formatter.write_dl(panels[title], col_max=NAME_WIDTH)
