"""The seam of frame sources: where the frames of a push come from.

An option object, a `Source`, is given to RemoteOptimizer; once the run is joined it opens a `FrameSource`, which the
exchange asks for every push.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import torch

from gradwire_common.methods.method import EncodeReport, Method
from gradwire_common.settings.together import check_together
from gradwire_worker.compute.flat_model import FlatModel
from gradwire_worker.compute.groups import Group
from gradwire_worker.uplink import Uplink

F32 = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Due:
    """A push that is due: its weight in the mean, and the mean loss for the records."""

    samples: int
    loss: float


@dataclass(frozen=True, slots=True)
class Joined:
    """What a source may use of a run that was joined.

    Attributes:
        flat: the model as a flat vector.
        uplink: turns the vector that is pushed into frames.
        groups: the parameter groups.
        rounds: the run's length; 0 for a run without end.
    """

    flat: FlatModel
    uplink: Uplink
    groups: Sequence[Group]
    rounds: int


class FrameSource(Protocol):
    """Makes the frames of one worker's pushes, in one run.

    For every call of `RemoteOptimizer.step` it is asked to `step`; where a push is due, for `gather` and `frames`; and
    told to `begin` once the model holds the weights of the next round. What has a body here need not be written.

    Attributes:
        ahead: whether it writes to the uplink's entries before a push is due.
        optimizer: the torch optimizer of its own that a `state_dict` is to hold; None for none.
        taken: the local steps taken since the last push.
        steps: local steps between pushes; 1 where gradients are pushed.
    """

    ahead: ClassVar[bool] = False
    optimizer: torch.optim.Optimizer | None = None
    taken: int = 0
    steps: int = 1

    def begin(self, version: int) -> None:
        """Start a round with the weights of `version`, which the model holds."""
        return

    def step(self, samples: int, loss: float) -> Due | None:
        """Use the gradients, the mean of `samples` samples whose mean loss was `loss`; return the push that is due.

        Raises:
            NonFiniteError: a gradient is not finite; names its parameter. Nothing has changed.
        """
        return Due(samples, loss)

    def gather(self, out: F32) -> None:
        """Write what is pushed to `out`, (n_parameters,) or longer; nothing where `frames` needs nothing there."""
        ...

    def frames(self, budget: int, chunk_bytes: int, report: EncodeReport, *, with_buffers: bool) -> Iterator[bytes]:
        """Yield the frames of the push.

        Args:
            budget: most bytes on the wire; 0 for no limit.
            chunk_bytes: most bytes of a chunk.
            report: filled in.
            with_buffers: whether the frames of the buffers, which stand in the uplink's entries, follow.

        Raises:
            NonFiniteError: an entry is not finite; names its tensor. Before the first frame, the residual as it was.
        """
        ...

    def settle(self) -> None:
        """Wait until all that a checkpoint holds is what the next push will begin with."""
        return

    def discard(self) -> None:
        """Forget what was encoded since the last push: that push does not count, so the residual changes."""
        return

    def forget(self) -> None:
        """Forget the gradients seen: zero_grad() takes them away."""
        return

    def close(self) -> None:
        """End threads and take hooks away; nothing happens the second time."""
        return

    def state(self) -> tuple[dict[str, Bytes], str]:
        """Return what a checkpoint must hold of it: tensors as bytes by name, and a JSON object."""
        return {}, "{}"

    def load_state(self, tensors: Mapping[str, Bytes], told: str) -> None:
        """Resume from what `state` returned."""
        return


class Source(Protocol):
    """A frozen choice of how pushes are made; opened once the run has been joined.

    What has a body here need not be written.

    Attributes:
        delay: 1 where step() returns before its round has closed, with the weights of the round before; else 0.
        own_options: whether the options of parameter groups are its own; the server then steps all parameters alike.
    """

    delay: int = 0
    own_options: ClassVar[bool] = False

    @property
    def shared(self) -> dict[str, str]:
        """The settings that all workers of the run must have alike."""
        return {}

    def check(self, groups: Sequence[Group], rounds: int | None = None) -> None:
        """Try what can be tried before joining.

        Args:
            groups: the parameter groups.
            rounds: the run's length, 0 for a run without end; None where it is not known yet.

        Raises:
            ConfigError: something does not fit.
        """
        return

    def check_run(self, method: Method, *, asynchronous: bool) -> None:
        """Raise ConfigError where the run, as its server has told it, does not fit."""
        check_together(delay=self.delay, asynchronous=asynchronous)

    def open(self, joined: Joined) -> FrameSource:
        """Return the source of the run's frames."""
        ...
