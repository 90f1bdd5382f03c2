"""What the token buckets of a run allow."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Self

from gradwire_common.errors import ConfigError
from gradwire_common.settings.config import ServedRun
from gradwire_common.transport.chunks import MAX_CHUNK, MIN_CHUNK, chunk_size
from gradwire_common.units import AUTO, MAX_BYTES, format_size

MESSAGE_BYTES = 512  # of a chunk message and its framing beside 16 KiB of data, generously; 1 MiB has 64 frames of it
LIMITED_CHUNK = 64 << 10  # most bytes in a chunk of a limited link that asks for no window: longer ones pass in lumps
RATES = ("rate_up", "rate_down", "shared_up", "shared_down")  # the limits that are rates
CHUNKS_IN_BURST = 2  # so that one chunk may pass while the next fills up


@dataclass(frozen=True, slots=True)
class Limits:
    """What the token buckets allow, in bytes and bytes per second; a rate of 0 is no limit.

    The fields are settings of the server.

    Attributes:
        rate_up, rate_down, burst: of each worker.
        shared_up, shared_down, burst_shared: of all together.
        window: bytes that a worker may have under way in one round trip, which are those of a chunk, whatever its rate;
            0 for what its rate makes of it.
    """

    rate_up: int = 0
    rate_down: int = 0
    burst: int = 256 << 10
    shared_up: int = 0
    shared_down: int = 0
    burst_shared: int = 1 << 20
    window: int = 0

    def __post_init__(self) -> None:
        """Raise ConfigError unless every number fits the wire and every bucket holds two chunks."""
        for name, value in asdict(self).items():
            if value > MAX_BYTES:
                raise ConfigError(f"{name}: got {value} bytes, want at most {MAX_BYTES}")
        if self.window > MAX_CHUNK:
            raise ConfigError(f"window: got {format_size(self.window)}, want at most {format_size(MAX_CHUNK)}")
        chunk_bytes = max(MIN_CHUNK, self.window)
        least = CHUNKS_IN_BURST * (chunk_bytes + MESSAGE_BYTES)
        for name, limited in [
            ("burst", self.rate_up or self.rate_down),
            ("burst_shared", self.shared_up or self.shared_down),
        ]:
            if limited and getattr(self, name) < least:
                raise ConfigError(
                    f"{name}: got {format_size(getattr(self, name))}, want at least {least} bytes, two chunks of "
                    f"{format_size(chunk_bytes)}"
                )

    @classmethod
    def of(cls, settings: ServedRun) -> Self:
        """Return the limits that the settings ask for.

        Raises:
            ConfigError: a bucket is too small, or the bits of the broadcast are to follow from a limit that is not set.
        """
        limits = cls(**{field.name: int(getattr(settings, field.name)) for field in fields(cls)})
        if settings.downlink.auto and not limits.share_down(1):
            raise ConfigError(
                f"bits_down: got {AUTO!r} without a rate_down or shared_down, want one, or a number of bits per entry"
            )
        return limits

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return bool(self.rate_up or self.rate_down or self.shared_up or self.shared_down)

    def share_up(self, n_workers: int) -> int:
        """Return the bytes per second left to a worker when `n_workers` all send; 0 where there is no limit."""
        return least_rate([self.rate_up, self.shared_up // max(n_workers, 1)])

    def share_down(self, n_workers: int) -> int:
        """Return the bytes per second left to a worker when all of `n_workers` are sent; 0 where there is no limit."""
        return least_rate([self.rate_down, self.shared_down // max(n_workers, 1)])

    @property
    def chunk_bytes(self) -> int:
        """Most bytes of data in one chunk."""
        if self.window:
            return max(self.window, MIN_CHUNK)
        rates = (self.rate_up, self.rate_down, self.shared_up, self.shared_down)
        size = chunk_size(least_rate(rates))
        if not self.limited:
            return size
        bursts = [self.burst] * bool(self.rate_up or self.rate_down)
        bursts += [self.burst_shared] * bool(self.shared_up or self.shared_down)
        return min(size, LIMITED_CHUNK, min(bursts) // CHUNKS_IN_BURST - MESSAGE_BYTES)


def least_rate(rates: Iterable[int]) -> int:
    """Return the lowest of `rates`, of which a 0 stands for no limit."""
    return min((rate for rate in rates if rate), default=0)
