"""Messages that leave no faster than the server will read them."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator

from gradwire_common.transport.channel import wire_bytes
from gradwire_common.transport.token_bucket import SECOND, TokenBucket
from gradwire_common.v1 import parameter_server_pb2 as pb


class Pacer:
    """The worker's own token bucket, kept as the server says its is.

    The server slows a worker that has none just the same; but what waits here fills no buffer on the way, in which
    small calls would have to wait behind it.

    Args:
        wait: sleeps for so many seconds, or less once the worker leaves.
        clock: monotonic, in nanoseconds.
    """

    def __init__(self, wait: Callable[[float], object], clock: Callable[[], int] = time.monotonic_ns):
        self._wait = wait
        self._clock = clock
        self._lock = threading.Lock()
        self._bucket: TokenBucket | None = None

    def set(self, limits: pb.Limits) -> None:
        """Pace by `limits` from now on."""
        with self._lock:
            if not limits.rate_up:
                self._bucket = None
            elif self._bucket is None:
                self._bucket = TokenBucket(limits.rate_up, limits.burst)
            elif (self._bucket.rate, self._bucket.burst) != (limits.rate_up, limits.burst):
                self._bucket.set_rate(limits.rate_up, limits.burst, self._clock())

    def paced(self, messages: Iterable[pb.PushMessage]) -> Iterator[pb.PushMessage]:
        """Yield `messages`, each once its bytes may pass."""
        for message in messages:
            with self._lock:
                n_bytes = wire_bytes(message.ByteSize())
                wait = self._bucket.spend(n_bytes, self._clock()) if self._bucket is not None else 0
            if wait > 0:
                self._wait(wait / SECOND)
            yield message
