"""The optimizer that a run steps with, and the options of its parameter groups as they travel: as plain numbers.

An option that is a number or a boolean has its own name; the entries of one that is a pair, such as betas, are
"betas.0" and "betas.1". Nothing else of an optimizer changes from step to step.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from gradwire_common.errors import DataError, UsageError
from gradwire_common.foreign_text import printable
from gradwire_common.layout.manifest import MAX_OPTIONS
from gradwire_common.v1 import parameter_server_pb2 as pb

Flat = dict[str, float]  # the options of one parameter group
Groups = tuple[Flat, ...]  # those of all groups of a manifest

RATE = "lr"
IMPLEMENTATION = ("foreach", "capturable", "differentiable", "fused")  # options that say how torch computes, not what
MAX_VALUE = 1e4  # of an option: bounded entries times it are finite float32 numbers, so that no push ends a run
MAX_CHOICE = 64 << 10  # bytes of a choice's name and options
MAX_SHOWN = 80  # characters of a choice that cannot be read


@dataclass(frozen=True)
class OptimizerChoice:
    """An optimizer that a worker asks for: a name that the server knows, and options as JSON has them."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_message(self) -> pb.OptimizerChoice:
        """Return the message for it."""
        return pb.OptimizerChoice(name=self.name, options=json.dumps(dict(self.options)))

    @classmethod
    def from_message(cls, message: pb.OptimizerChoice) -> Self:
        """Return what a message says. Raises UsageError where it is no choice."""
        try:
            if message.ByteSize() > MAX_CHOICE:
                raise ValueError(f"{message.ByteSize()} bytes, want at most {MAX_CHOICE}")
            options = json.loads(message.options)
            if not isinstance(options, dict):
                raise ValueError("no JSON object")
        except (ValueError, RecursionError) as error:
            shown = printable(message.options, MAX_SHOWN)
            raise UsageError(f"optimizer: got the options {shown!r} ({error}), want a JSON object") from None
        return cls(message.name, options)


def flatten(options: Mapping[str, Any]) -> Flat:
    """Return the options that are numbers or made of numbers; others, such as None, are left out."""
    flat: Flat = {}
    for name, value in options.items():
        if isinstance(value, tuple | list) and all(isinstance(each, bool | int | float) for each in value):
            flat.update({f"{name}.{index}": float(each) for index, each in enumerate(value)})
        elif isinstance(value, bool | int | float):
            flat[name] = float(value)
    return flat


def unflatten(flat: Mapping[str, float]) -> dict[str, Any]:
    """Return the options of which `flatten` made numbers; booleans stay numbers."""
    options: dict[str, Any] = {}
    for name, value in sorted(flat.items()):  # maps that travelled have no order
        base, dot, index = name.partition(".")
        if not dot:
            options[name] = value
        elif not index.isdecimal() or int(index) != len(options.setdefault(base, ())):
            raise UsageError(f"option {printable(name, MAX_SHOWN)!r}: want the entries of {base!r} in order")
        else:
            options[base] += (value,)
    return options


def changes(now: Sequence[Mapping[str, float]], initial: Sequence[Mapping[str, float]]) -> Groups:
    """Return what differs from the run's beginning, and each group's learning rate; empty where nothing differs."""
    if all(dict(one) == dict(other) for one, other in zip(now, initial, strict=True)):
        return ()
    return tuple(
        {name: value for name, value in one.items() if name == RATE or value != other.get(name)}
        for one, other in zip(now, initial, strict=True)
    )


def changed(initial: Sequence[Mapping[str, float]], groups: Sequence[Mapping[str, float]]) -> Groups:
    """Undo `changes`: return all options, given those that differ. Raises DataError where groups are missing."""
    if not groups:
        return tuple(dict(each) for each in initial)
    if len(groups) != len(initial):
        raise DataError(f"options: got those of {len(groups)} parameter groups, want {len(initial)}")
    return tuple({**one, **other} for one, other in zip(initial, groups, strict=True))


def to_messages(groups: Sequence[Mapping[str, float]]) -> list[pb.ParameterGroup]:
    """Return the messages for the options of all groups."""
    return [pb.ParameterGroup(options=each) for each in groups]


def from_messages(messages: Sequence[pb.ParameterGroup]) -> Groups:
    """Return what messages hold. Raises UsageError where a group has too many options, or one is no such number."""
    groups = tuple(dict(each.options) for each in messages)
    for index, group in enumerate(groups):
        if len(group) > MAX_OPTIONS:
            raise UsageError(f"param_groups[{index}]: got {len(group)} options, want at most {MAX_OPTIONS}")
        for name, value in group.items():
            if not -MAX_VALUE <= value <= MAX_VALUE:
                raise UsageError(
                    f"param_groups[{index}][{printable(name, MAX_SHOWN)!r}]: got {value}, want a number of at most "
                    f"{MAX_VALUE:g}"
                )
    return groups
