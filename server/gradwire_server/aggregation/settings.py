"""What is said of the aggregation in the settings, and what goes together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from gradwire_common.errors import ConfigError
from gradwire_common.settings.clip import ClipNorm
from gradwire_common.settings.config import ServedRun
from gradwire_server.aggregation.privacy import check_accountant

MEAN = "mean"


@dataclass(frozen=True, slots=True)
class AggregationSettings:
    """How the pushes of a round become one update, as the configuration has it.

    Attributes:
        name: of the rule.
        options: of the rule.
        clip: the bound on the norm of a push.
        noise_multiplier: standard deviation of the noise in the sum, over the bound; 0 for none.
        asynchronous: whether a round is one push.
    """

    name: str = MEAN
    options: Mapping[str, Any] = field(default_factory=dict)
    clip: ClipNorm = field(default_factory=ClipNorm)
    noise_multiplier: float = 0.0
    asynchronous: bool = False

    @classmethod
    def of(cls, settings: ServedRun) -> Self:
        """Return what the settings say.

        Raises:
            ConfigError: noise that would not make a run private, or without its accountant.
        """
        told = cls(
            settings.aggregation,
            settings.aggregation_options,
            settings.clip_norm,
            settings.noise_multiplier,
            settings.asynchronous,
        )
        if told.noise_multiplier:
            check_accountant()
            told.check_private(buffers_every=settings.buffers_every)
        return told

    def check_private(self, *, buffers_every: int) -> None:
        """Raise ConfigError unless noise hides what one worker pushes: one bounded term of a sum, and nothing else."""
        wanted = (
            ("aggregation", self.name, MEAN, self.name == MEAN),
            ("aggregation_options", dict(self.options), '{"weights": "equal"}', self.options == {"weights": "equal"}),
            ("clip_norm", str(self.clip), "a number", self.clip.bound > 0),
            ("buffers_every", buffers_every, "0, since buffers have no noise", buffers_every == 0),
            ("mode", "asynchronous", "synchronous", not self.asynchronous),
        )
        for name, got, want, right in wanted:
            if not right:
                raise ConfigError(f"{name}: got {got} together with noise_multiplier, want {want}")
