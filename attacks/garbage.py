"""Bytes that are no message, frames that are no frames, segments of two entries.

    python attacks/garbage.py

Answers:
    Join of noise: INVALID_ARGUMENT: JoinRequest: got 501 bytes that are no such message
    Heartbeat of noise: INVALID_ARGUMENT: HeartbeatRequest: got 501 bytes that are no such message
    Report of noise: INVALID_ARGUMENT: EvaluationReport: got 501 bytes that are no such message
    Status of noise: INVALID_ARGUMENT: StatusRequest: got 501 bytes that are no such message
    Staged of noise: INVALID_ARGUMENT: StagedRequest: got 501 bytes that are no such message
    Limit of noise: INVALID_ARGUMENT: LimitRequest: got 501 bytes that are no such message
    frames of noise, 1: INVALID_ARGUMENT: frame of dense.weight: frame starts with ..., want b'GW'
    frames of noise, 2: INVALID_ARGUMENT: frame of dense.weight: frame starts with ..., want b'GW'
    frames of noise, 3: INVALID_ARGUMENT: frame of dense.weight: frame starts with ..., want b'GW'
    frames of noise, 4: INVALID_ARGUMENT: frame of dense.weight: frame starts with ..., want b'GW'
    frames of noise, 5: INVALID_ARGUMENT: frame of dense.weight: frame starts with ..., want b'GW'
    frames of noise, 6: INVALID_ARGUMENT: frame of dense.weight: frame starts with ..., want b'GW'
    frames of noise, 7: INVALID_ARGUMENT: frame of dense.weight: frame starts with ..., want b'GW'
    frames of noise, 8: INVALID_ARGUMENT: frame of dense.weight: frame starts with ..., want b'GW'
"""

import numpy as np

from gradwire_common.v1 import parameter_server_pb2 as pb
from stage import Stage, perform


def attack(on: Stage) -> None:
    """Send bytes at random."""
    evil = on.peer("evil")
    evil.join()
    noise = np.random.default_rng(5)
    for call in ("Join", "Heartbeat", "Report", "Status", "Staged", "Limit"):
        bare = evil.channel.unary_unary(f"/gradwire.v1.ParameterServer/{call}")
        on.tell(f"{call} of noise", lambda bare=bare: bare(b"\xff" + noise.bytes(500), timeout=30))

    def push(n: int) -> pb.Receipt:
        with on.paused() as round_:
            header = pb.PushHeader(
                session=evil.session, kind=pb.PUSH_KIND_GRADIENT, round=round_, base_version=round_ - 1, samples=1
            )
            return evil.send(evil.messages(header, [noise.bytes(n)]))

    for i in range(8):
        on.tell(f"frames of noise, {i + 1}", lambda: push(5000))


if __name__ == "__main__":
    perform(attack)
