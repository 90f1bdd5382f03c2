"""What a push may take on the wire, and what that leaves for its frames."""

from gradwire_common.channel import CALL_BYTES, wire_bytes
from gradwire_common.v1 import parameter_server_pb2 as pb

MOST_BITS = 7.5  # per entry that a budget asks for; the quantiser ends at 8, which codes may miss by some percent
HEADER_MOST = 64  # bytes of the message that begins a push
END_MOST = 88  # and of the one that ends it
CHUNK_FIELDS = 20  # bytes of a chunk's message beside its data, at the most


def most_useful(n_parameters: int, n_buffers: int, chunk_bytes: int) -> int:
    """Return the bytes on the wire beyond which a larger budget is no use to the uniform quantiser."""
    return push_bytes(int(n_parameters * MOST_BITS / 8) + 4 * n_buffers, chunk_bytes)


def push_budget(limits: pb.Limits, compute: float) -> int:
    """Return the bytes on the wire that a push may take, framing included; 0 where there is no limit.

    What passes in the wanted seconds; or what flowed in while the worker computed, where that took longer. Of this the
    bucket holds a burst at the most, which passes at once, so the transfer still takes the wanted seconds.

    Args:
        limits: what the server allows.
        compute: seconds that the link has been idle before this push.
    """
    wanted = limits.share_up * limits.transfer_seconds
    return int(max(wanted, min(limits.share_up * compute, wanted + limits.burst)))


def frames_budget(budget: int, chunk_bytes: int) -> int:
    """Return the most bytes of frames whose push takes at most `budget` bytes on the wire; may be below 0."""
    return budget - (push_bytes(max(budget, 0), chunk_bytes) - max(budget, 0))


def push_bytes(n_bytes: int, chunk_bytes: int) -> int:
    """Return what a push with `n_bytes` of frames takes on the wire, at the most: call, header, chunks, end."""
    n_full, rest = divmod(n_bytes, chunk_bytes)
    chunks = n_full * wire_bytes(chunk_bytes + CHUNK_FIELDS) + (wire_bytes(rest + CHUNK_FIELDS) if rest else 0)
    return CALL_BYTES + wire_bytes(HEADER_MOST) + chunks + wire_bytes(END_MOST)
