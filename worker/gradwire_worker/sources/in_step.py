"""Frames made in step(): the gradients that the loop leaves, all at once."""

from collections.abc import Iterator
from dataclasses import dataclass

from gradwire_common.methods.method import EncodeReport
from gradwire_common.settings.together import check_together
from gradwire_worker.sources.frame_source import F32, FrameSource, Joined, Source


@dataclass(frozen=True)
class InStep(Source):
    """Push the gradients that step() finds: clipped, unscaled or accumulated as the loop likes.

    Attributes:
        delay: 1 to let step() return before its round has closed, with the weights of the round before: the next
            forward pass is on weights one version old, and hides the link.

    Raises:
        ConfigError: the delay is not 0 or 1.
    """

    delay: int = 0

    def __post_init__(self) -> None:
        check_together(delay=self.delay)

    def open(self, joined: Joined) -> "GradientSource":
        """Return the source of the run's frames."""
        return GradientSource(joined)


class GradientSource(FrameSource):
    """Reads the gradients and encodes them, in step()."""

    def __init__(self, joined: Joined):
        self._flat = joined.flat
        self._uplink = joined.uplink

    def gather(self, out: F32) -> None:
        """Write every gradient to `out`. Raises UsageError if a frozen parameter has one now."""
        self._flat.read_gradients(out)

    def frames(self, budget: int, chunk_bytes: int, report: EncodeReport, *, with_buffers: bool) -> Iterator[bytes]:
        """Yield the frames of the gradients."""
        return self._uplink.frames(budget, chunk_bytes, report, with_buffers=with_buffers)
