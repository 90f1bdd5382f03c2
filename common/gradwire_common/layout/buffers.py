"""When the workers' buffers (BatchNorm statistics) are averaged."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BufferSchedule:
    """Every so many rounds, and in the run's last, so that what it leaves holds an average.

    Attributes:
        every: rounds between averages; 0 for never.
        rounds: the run's last round; 0 for a run without end.
    """

    every: int
    rounds: int

    def due(self, round_: int) -> bool:
        """Whether pushes for `round_` hold buffers."""
        return self.every > 0 and (round_ % self.every == 0 or round_ == self.rounds)

    def newest(self, version: int) -> int:
        """Return the last version up to `version` that averaged buffers; 0 for none."""
        if not self.every:
            return 0
        return version if version == self.rounds else version - version % self.every

    def __str__(self) -> str:
        return f"every {self.every} rounds and in the last" if self.every else "never"
