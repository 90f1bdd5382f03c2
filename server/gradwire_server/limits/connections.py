"""How many connections and calls the server takes at once, and the files that they need."""

import resource
from contextlib import suppress

CONNECTIONS_PER_WORKER = 2  # one that broke may not have been noticed when its worker comes back
OTHER_CONNECTIONS = 64  # of status, limits, probes
CALLS_PER_CONNECTION = 4  # of a worker: updates, a push, a heartbeat, and one that was cut
OTHER_FILES = 256  # beside connections: the journal, checkpoints, libraries


def max_connections(members: int) -> int:
    """Return how many connections a run of at most so many workers takes at once."""
    return CONNECTIONS_PER_WORKER * members + OTHER_CONNECTIONS


def max_calls(members: int) -> int:
    """Return how many calls a run of at most so many workers answers at once."""
    return CALLS_PER_CONNECTION * max_connections(members)


def connection_options(members: int) -> list[tuple[str, int]]:
    """Return gRPC's options that bound the connections of a run of at most so many workers."""
    return [("grpc.max_allowed_incoming_connections", max_connections(members))]


def allow_files(members: int) -> None:
    """Let this process open as many files as its connections need, as far as the system lets it."""
    wanted = max_connections(members) + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
