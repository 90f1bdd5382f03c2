"""What an aggregation rule is: the pushes of a round go in, in the order of slots, and one update comes out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gradwire_server.aggregation.push import Push

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Treatment:
    """What a rule made of one push, where it did not take it as it was.

    Attributes:
        scale: what its entries were multiplied by to clip its norm; 1 where it was within the bound.
        outlying: whether it is far from what the round came to, as `outlying` (outliers.py) defines.
    """

    scale: float = 1.0
    outlying: bool = False


@dataclass(frozen=True, slots=True)
class Mean:
    """What a round's pushes come to: their mean, or whatever a rule has in its place.

    Attributes:
        entries: (n_parameters + n_buffers,) float32 in layout order. A rule returns the parameters' entries in the
            basis of the method; an outcome gets them inverted. They are lent: the rule leaves them alone until the next
            round's first push, and until then the outcome may overwrite them. So the sum, the optimizer's gradient and
            the replica's change follow each other in one array; an array for each would cost two models of memory.
        with_buffers: whether the buffers' entries hold anything.
        treated: slots whose pushes were clipped or lie far out.
    """

    entries: F32
    with_buffers: bool
    treated: Mapping[int, Treatment] = field(default_factory=dict)


class Rule(Protocol):
    """Aggregates round after round; nothing is carried over from one to the next. One call at a time, in any thread."""

    @property
    def streams(self) -> bool:
        """Whether a push is done with once it has been added.

        If it is not, its frames stay in memory, and take of `memory`, until the round has closed: a rule may keep what
        `add` is given until `finish` returns.
        """

    def add(self, push: Push, slot: int) -> None:
        """Add the push of `slot`. The first after `finish` begins a round; slots come in ascending order in most."""

    def finish(self) -> Mean:
        """Return what the pushes since the last call come to.

        Where an entry is not finite, no push of the round counts, and the rule is asked for the next round as usual.

        Raises:
            NonFiniteError: there is nothing finite to return; says why.
        """


RuleFactory = Callable[..., Rule]
"""factory(layout, method, **options): the method adds or decodes what pushes hold; options have names and defaults.

It raises ConfigError, naming the option, where a value cannot be.
"""
