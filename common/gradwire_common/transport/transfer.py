"""What an update takes on the wire, and what of it is left for frames where that is given."""

from gradwire_common.transport.channel import CALL_BYTES, wire_bytes

MOST_BITS = 7.5  # per entry that a budget asks for; the quantiser ends at 8, which codes may miss by some percent
HEADER_MOST = 80  # bytes of the message that begins a push or an update
END_MOST = 88  # and of the one that ends it
CHUNK_FIELDS = 20  # bytes of a chunk's message beside its data, at the most


def most_useful(n_parameters: int, n_buffers: int) -> int:
    """Return the bytes of frames beyond which a larger budget is no use to the uniform quantiser."""
    return int(n_parameters * MOST_BITS / 8) + 4 * n_buffers


def frames_budget(budget: int, chunk_bytes: int) -> int:
    """Return the most bytes of frames that take at most `budget` bytes on the wire; may be below 0."""
    return budget - (transfer_bytes(max(budget, 0), chunk_bytes) - max(budget, 0))


def transfer_bytes(n_bytes: int, chunk_bytes: int) -> int:
    """Return what `n_bytes` of frames take on the wire, at the most: call, header, chunks, end."""
    n_full, rest = divmod(n_bytes, chunk_bytes)
    chunks = n_full * wire_bytes(chunk_bytes + CHUNK_FIELDS) + (wire_bytes(rest + CHUNK_FIELDS) if rest else 0)
    return CALL_BYTES + wire_bytes(HEADER_MOST) + chunks + wire_bytes(END_MOST)
