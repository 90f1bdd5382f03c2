"""The names, shapes and roles of a model's tensors, and their places in one flat float32 vector.

Everything that moves between worker and server is a part of one flat vector in *layout order*: parameters first, then
buffers, then frozen tensors; within each, tensors of BUNDLE_BELOW entries and more in manifest order, then the small
ones, gathered in bundles. Both ends derive the same layout from the same manifest.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from gradwire_common.errors import ModelMismatchError
from gradwire_common.foreign_text import printable
from gradwire_common.layout.dtypes import SAFETENSORS

BUNDLE_BELOW = 4096  # entries; a frame of its own costs a smaller tensor more than 1 % of its bits at 1 bit an entry
BUNDLE_ENTRIES = 65536  # most entries in one bundle, so that it can be coded and sent while the next one is fitted

MAX_TENSORS = 100_000  # each is an object of torch's on both ends, of about a kilobyte
MAX_NAME = 512  # characters
MAX_SHOWN = 80  # characters of a longer name in a message
MAX_DIMENSIONS = 64  # torch's own limit
MAX_ENTRIES = 2**40  # of one tensor: 4 TiB
MAX_OPTIONS = 64  # of one parameter group
MAX_OPTION = 1e12  # magnitude of an option's value; ASGD's t0 of 1e6 is the largest default
RESERVED_NAME = "__metadata__"  # what safetensors files call something else by


class Role(StrEnum):
    """How the server treats a tensor."""

    PARAMETER = "parameter"  # has gradients, which are pushed every round
    BUFFER = "buffer"  # no gradient, but changes while training: averaged
    FROZEN = "frozen"  # never changes: travels in snapshots only


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor of a model; `dtype` is torch's name for it, without the "torch."."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    role: Role = Role.PARAMETER
    group: int = 0

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        return f"{self.name} {list(self.shape)} {self.dtype} ({self.role.value})"


@dataclass(frozen=True)
class Manifest:
    """The tensors of a model, each name once, and the options of its optimizer parameter groups."""

    tensors: tuple[TensorSpec, ...]
    groups: tuple[dict[str, float], ...] = field(default=({},))

    def __post_init__(self) -> None:
        _check_bounds(self.tensors, self.groups)
        seen: set[str] = set()
        for spec in self.tensors:
            if spec.name in seen:
                raise ModelMismatchError(f"manifest: tensor {spec.name!r} is named twice")
            if spec.group >= len(self.groups):
                raise ModelMismatchError(
                    f"manifest: tensor {spec.name!r} is in group {spec.group}, but there are {len(self.groups)} groups"
                )
            seen.add(spec.name)
        if not any(spec.role is Role.PARAMETER for spec in self.tensors):
            raise ModelMismatchError("manifest: got no trainable parameter, want at least one")

    def differences(self, other: "Manifest") -> list[str]:
        """Say how `other` differs from this manifest, one line a tensor, and one for groups; empty if it does not."""
        ours, theirs = ({spec.name: spec for spec in each.tensors} for each in (self, other))
        lines = [f"missing {ours[name]}" for name in ours if name not in theirs]
        lines += [f"unknown {theirs[name]}" for name in theirs if name not in ours]
        lines += [
            f"got {theirs[name]}, want {ours[name]}" for name in ours if name in theirs and ours[name] != theirs[name]
        ]
        if not lines and self.tensors != other.tensors:
            lines.append("the same tensors in another order")
        if len(self.groups) != len(other.groups):
            lines.append(f"parameter groups: got {len(other.groups)}, want {len(self.groups)}")
        elif self.groups != other.groups:
            number = next(n for n, group in enumerate(self.groups) if group != other.groups[n])
            lines.append(f"parameter group {number}: got {other.groups[number]}, want {self.groups[number]}")
        return lines

    @cached_property
    def layout(self) -> "Layout":
        """The places of the tensors in the flat vector."""
        return Layout(self.tensors)


def check_counts(n_tensors: int, n_groups: int) -> None:
    """Raise ModelMismatchError where a manifest has more tensors or groups than any may."""
    for what, got, most in (
        ("tensors", n_tensors, MAX_TENSORS),
        ("parameter groups", n_groups, max(1, n_tensors)),
    ):
        if got > most:
            raise ModelMismatchError(f"manifest: got {got:,} {what}, want at most {most:,}")


def _check_bounds(tensors: Sequence[TensorSpec], groups: Sequence[dict[str, float]]) -> None:
    """Raise ModelMismatchError where a manifest is larger than any model's, or holds what no weights file can."""
    check_counts(len(tensors), len(groups))
    most = max(map(len, groups), default=0)
    if most > MAX_OPTIONS:
        raise ModelMismatchError(f"manifest: got {most:,} options in one parameter group, want at most {MAX_OPTIONS:,}")
    for spec in tensors:
        _check_tensor(spec)
    n_entries = sum(spec.size for spec in tensors)
    if n_entries > MAX_ENTRIES:
        raise ModelMismatchError(f"manifest: got {n_entries:,} entries in all, want at most {MAX_ENTRIES:,}")
    for number, group in enumerate(groups):
        for name, value in group.items():
            if not abs(value) <= MAX_OPTION:
                shown = printable(name, MAX_SHOWN)
                raise ModelMismatchError(
                    f"manifest: parameter group {number}: {shown}: got {value:g}, want a number of at most "
                    f"{MAX_OPTION:g} either way"
                )


def _check_tensor(spec: TensorSpec) -> None:
    shown = repr(spec.name if len(spec.name) <= MAX_SHOWN else f"{spec.name[:MAX_SHOWN]}...")
    if len(spec.name) > MAX_NAME:
        raise ModelMismatchError(
            f"manifest: tensor {shown} has a name of {len(spec.name):,} characters, want at most {MAX_NAME}"
        )
    if spec.name == RESERVED_NAME:
        raise ModelMismatchError(f"manifest: a tensor is named {shown}, which weights files use for something else")
    if len(spec.shape) > MAX_DIMENSIONS or max(spec.shape, default=0) > MAX_ENTRIES or spec.size > MAX_ENTRIES:
        raise ModelMismatchError(
            f"manifest: tensor {shown} has {len(spec.shape)} dimensions, {list(spec.shape[:4])} the first, "
            f"want at most {MAX_DIMENSIONS}, and at most {MAX_ENTRIES:,} entries"
        )
    if spec.dtype not in SAFETENSORS:
        dtype = printable(spec.dtype, MAX_SHOWN)
        raise ModelMismatchError(f"manifest: tensor {shown}: got dtype {dtype!r}, want one of {', '.join(SAFETENSORS)}")


@dataclass(frozen=True, slots=True)
class Unit:
    """What one frame codes: a large tensor or a bundle of small ones, at [start, stop) of the flat vector."""

    start: int
    stop: int
    tensors: tuple[TensorSpec, ...]

    @property
    def place(self) -> slice:
        """Its slice of the flat vector."""
        return slice(self.start, self.stop)

    @property
    def role(self) -> Role:
        """The role of all its tensors."""
        return self.tensors[0].role

    def __len__(self) -> int:
        return self.stop - self.start

    def __str__(self) -> str:
        more = f" and {len(self.tensors) - 1} more" if len(self.tensors) > 1 else ""
        return f"{self.tensors[0].name}{more}"


class Layout:
    """Places of tensors in the flat vector.

    Attributes:
        parameters, buffers, frozen: units of each role, in order; together they tile [0, size).
        order: tensors in layout order.
        slots: the slice of each tensor by name.
        n_parameters: entries that have gradients; they are the first of the vector.
        n_buffers: entries of buffers; they come next.
        size: entries in all.
    """

    def __init__(self, tensors: Sequence[TensorSpec]):
        by_role = {role: _units([spec for spec in tensors if spec.role is role]) for role in Role}
        self.slots: dict[str, slice] = {}
        placed: dict[Role, tuple[Unit, ...]] = {}
        start = 0
        for role, groups in by_role.items():
            units = []
            for group in groups:
                unit_start = start
                for spec in group:
                    self.slots[spec.name] = slice(start, start + spec.size)
                    start += spec.size
                units.append(Unit(unit_start, start, tuple(group)))
            placed[role] = tuple(units)
        self.parameters = placed[Role.PARAMETER]
        self.buffers = placed[Role.BUFFER]
        self.frozen = placed[Role.FROZEN]
        self.order = tuple(spec for unit in self.units for spec in unit.tensors)
        self.n_parameters = sum(map(len, self.parameters))
        self.n_buffers = sum(map(len, self.buffers))
        self.size = start

    @property
    def units(self) -> tuple[Unit, ...]:
        """All units in layout order."""
        return self.parameters + self.buffers + self.frozen

    def pushed(self, with_buffers: bool) -> tuple[Unit, ...]:
        """Units of a push or of a change: the parameters, and the buffers where they are due."""
        return self.parameters + self.buffers if with_buffers else self.parameters


def _units(specs: Iterable[TensorSpec]) -> list[list[TensorSpec]]:
    """Group tensors into units: large ones alone and first, small ones in bundles."""
    large: list[list[TensorSpec]] = []
    bundles: list[list[TensorSpec]] = []
    room = 0
    for spec in specs:
        if spec.size >= BUNDLE_BELOW:
            large.append([spec])
            continue
        if spec.size > room or not bundles:
            bundles.append([])
            room = BUNDLE_ENTRIES
        bundles[-1].append(spec)
        room -= spec.size
    return large + bundles
