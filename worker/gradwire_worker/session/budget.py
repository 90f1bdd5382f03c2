"""What a push may take on the wire."""

from gradwire_common.v1 import parameter_server_pb2 as pb


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
