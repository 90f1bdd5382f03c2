"""What the settings of a run say of its rounds."""

from dataclasses import dataclass
from typing import Self

from gradwire_common.errors import ConfigError
from gradwire_common.settings.config import ServedRun


@dataclass(frozen=True, slots=True)
class ScheduleSettings:
    """What schedules are made of.

    Attributes:
        workers: slots that must have taken part before the first version is made.
        rounds: the run ends at this version; 0 for a run without end.
        quorum: pushes without which no round closes.
        staleness: versions that a push may be behind.
        sampled: slots that take part in each round; 0 for all.
        seed: of which they are.
        target: samples that suffice for a round; 0 for no number.
        fair_share: versions of a worker for each one of the others, on average, where pushes form a queue; 0 for any.
    """

    workers: int
    rounds: int = 0
    quorum: int = 1
    staleness: int = 0
    fair_share: float = 0.0
    sampled: int = 0
    seed: int = 0
    target: int = 0

    @classmethod
    def of(cls, settings: ServedRun) -> Self:
        """Return what the settings ask for.

        Raises:
            ConfigError: a setting is given that means nothing in the run's mode.
        """
        drawn = settings.sampled.of(settings.workers)
        quorum = settings.quorum.of(drawn)
        if not settings.asynchronous:
            if settings.staleness is not None:
                got = f"got {settings.staleness} in the synchronous mode"
                raise ConfigError(f"staleness: {got}, want mode asynchronous")
            if quorum > drawn:
                raise ConfigError(f"quorum: got '{settings.quorum}', want at most the {drawn} workers of a round")
            sampled = drawn if settings.sampled else 0
            return cls(
                settings.workers,
                settings.rounds,
                quorum,
                sampled=sampled,
                seed=settings.seed,
                target=settings.target_samples,
            )
        where = "in the asynchronous mode, where no push waits"
        if quorum != 1:
            raise ConfigError(f"quorum: got '{settings.quorum}' {where}, want 1")
        if settings.deadline:
            raise ConfigError(f"deadline: got '{settings.deadline}' {where}, want none")
        if settings.sampled:
            raise ConfigError(f"sampled: got '{settings.sampled}' {where}, want all")
        if settings.target_samples:
            raise ConfigError(f"target_samples: got {settings.target_samples} {where}, want 0")
        staleness = 2 * settings.workers if settings.staleness is None else settings.staleness
        return cls(settings.workers, settings.rounds, quorum, staleness, settings.fair_share)
