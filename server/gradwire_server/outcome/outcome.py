"""What an outcome is: it makes the next version of a closed round and the mean of its pushes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, TypeVar

import torch

from gradwire_common.layout.manifest import Manifest
from gradwire_common.step_options import Groups
from gradwire_server.aggregation.rule import Mean
from gradwire_server.outcome.downlink import Downlink
from gradwire_server.outcome.optimizers.optimizer import OptimizerSettings
from gradwire_server.outcome.weights import Weights

T = TypeVar("T")

State = tuple[dict[str, torch.Tensor], dict[str, Any]]  # tensors by name, and the rest as JSON has it


class Kind(Enum):
    """What the frames of a version hold."""

    SNAPSHOT = "snapshot"  # all that a worker is to hold
    CHANGE = "change"  # what is added to the replica of the version before
    WEIGHTS = "weights"  # the new weights of every parameter


@dataclass(frozen=True, slots=True)
class Version:
    """A version of the weights, as watchers get it.

    Attributes:
        number: rounds applied to the weights.
        frames: one a unit, in layout order.
        digest: CRC-32 of the replica at this version.
        with_buffers: whether the frames of the buffers follow those of the parameters (CHANGE, WEIGHTS).
        options: of the parameter groups that are not as the run began, for workers to read (SNAPSHOT).
        unit_digests: of what a worker is to hold of each unit, as `held.unit_digests` makes them (SNAPSHOT).
    """

    number: int
    kind: Kind
    frames: tuple[bytes, ...]
    digest: int
    with_buffers: bool = False
    options: Groups = ()
    unit_digests: bytes = b""


@dataclass(frozen=True, slots=True)
class ClosedRound:
    """A round in which no further push counts.

    Attributes:
        round: its number, which is that of the version that it makes.
        loss: mean training loss over its samples; NaN where none is known.
        budget: bytes that the version's frames may take (bits_down auto); 0 for no limit.
        n_pushes: pushes that counted in it.
    """

    round: int
    loss: float
    budget: int = 0
    n_pushes: int = 1


@dataclass(frozen=True, slots=True)
class Model:
    """What an outcome works on.

    Attributes:
        manifest: names, shapes and groups of the tensors.
        weights: the weights and the replica; an outcome alone changes them.
        downlink: makes frames of how the replica falls behind the weights.
    """

    manifest: Manifest
    weights: Weights
    downlink: Downlink


class Draft(Protocol):
    """A version while it is being made: where an outcome computes, and what it hands over before all is there."""

    async def compute(self, work: Callable[..., T], *arguments: Any) -> T:
        """Return work(*arguments), which runs in a thread beside the event loop; its time is the round's."""

    async def open(self, kind: Kind, *, with_buffers: bool) -> None:
        """Bring the end of the round to the disk, and let watchers hear of the version.

        To be called once nothing that was pushed can make the version fail any more. An outcome that does not call it
        is heard of when it returns.
        """

    def append(self, frame: bytes) -> None:
        """Hand over the next frame of an open version, which watchers get at once. May be called in any thread."""


class Outcome(Protocol):
    """Makes the versions of a run, one after the other."""

    @property
    def learning_rate(self) -> float:
        """The rate of the next step, for the records; 0 where there is none."""

    async def version_of(self, closed: ClosedRound, mean: Mean, draft: Draft) -> Version:
        """Change the weights by what a round came to; return the version that it makes, all frames included.

        Frames that were appended to `draft` are the first of the version's.

        Raises:
            GradwireError: there can be no such version; the run ends.
        """

    def state(self) -> State:
        """Return all that the next versions depend on beside the model's weights. The tensors need not be copies."""

    def load_state(self, tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any]) -> None:
        """Resume from what `state` returned, bit for bit."""


OutcomeFactory = Callable[[Model, OptimizerSettings], Outcome]
