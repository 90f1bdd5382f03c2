"""A counting, rate-limiting TCP forwarder as a process of its own, so that it takes no time of those that it joins.

    python benchmarks/relay.py TARGET BYTES_PER_SECOND

It prints its address; then, for every line "BEGIN END" (seconds of the monotonic clock) on its standard input, the
bytes that went up and down between the two.
"""

import sys
from bisect import bisect_left

from gradwire.links.forwarder import Forwarder, Passage
from gradwire.links.profile import Link


def main() -> None:
    """Forward until the standard input ends."""
    target, rate = sys.argv[1], float(sys.argv[2])
    with Forwarder(target, Link(rate, rate)) as forwarder:
        print(forwarder.address, flush=True)
        for line in sys.stdin:
            begin, end = map(float, line.split())
            connections = list(forwarder.connections)
            up = sum(between(connection.up, begin, end) for connection in connections)
            down = sum(between(connection.down, begin, end) for connection in connections)
            print(up, down, flush=True)


def between(passage: Passage, begin: float, end: float) -> int:
    """Return the bytes that passed from `begin` to `end`."""
    return sum(passage.sizes[bisect_left(passage.times, begin) : bisect_left(passage.times, end)])


if __name__ == "__main__":
    main()
