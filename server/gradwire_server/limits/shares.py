"""How the memory of a run is shared out: to pushes, to those that were cut, and to updates that are kept."""

from gradwire_common.layout.manifest import Layout
from gradwire_common.settings.config import ServedRun
from gradwire_common.transport.chunks import MAX_CHUNK, MIN_CHUNK
from gradwire_common.units import Size
from gradwire_server.limits.memory import usual_push

MIN_MEMORY = 64 << 20  # bytes that pushes and kept updates may take where nothing is said, and large models more
PUSHES_IN_MEMORY = 4  # as many at least where nothing is said
CHUNKS_BYTES = 2 << 20  # of one chunk of every worker; a message takes some four times its chunk while it passes
UPDATES_SHARE = 8  # one byte in so many is for updates
BYTES_PER_ENTRY = 4  # of a snapshot, at most
PARTIALS_SHARE = 8  # and one in so many for pushes that were cut and may be resumed


def max_chunk(workers: int) -> int:
    """Return the most bytes of data in any chunk: shorter with many workers, since each has some of them under way."""
    return max(MIN_CHUNK, min(MAX_CHUNK, CHUNKS_BYTES // workers))


def memory_for_updates(settings: ServedRun, layout: Layout) -> int:
    """Return the bytes of updates that are kept for watchers that lag behind.

    Where nothing is said, they are at least a snapshot's: a worker that joins over a link that can follow the run at
    all then finds every update that was made while its snapshot travelled.
    """
    if isinstance(settings.memory, Size):
        return settings.memory // UPDATES_SHARE
    return max(MIN_MEMORY // UPDATES_SHARE, BYTES_PER_ENTRY * (layout.n_parameters + layout.n_buffers))


def memory_for_partials(settings: ServedRun, layout: Layout) -> int:
    """Return the bytes of pushes that were cut, kept so that they can be resumed."""
    if isinstance(settings.memory, Size):
        return settings.memory // PARTIALS_SHARE
    return max(MIN_MEMORY // PARTIALS_SHARE, usual_push(layout, settings.uplink))


def memory_for_pushes(settings: ServedRun, layout: Layout, *, streams: bool = True) -> int:
    """Return the bytes of pushes that may be in memory at once: what is set, or what this model needs.

    Where pushes stay once added (not `streams`), those of all workers are in memory together.
    """
    if isinstance(settings.memory, Size):
        return settings.memory - memory_for_updates(settings, layout) - memory_for_partials(settings, layout)
    pushes = PUSHES_IN_MEMORY if streams else settings.workers + PUSHES_IN_MEMORY
    return max(MIN_MEMORY - 2 * MIN_MEMORY // UPDATES_SHARE, pushes * usual_push(layout, settings.uplink))
