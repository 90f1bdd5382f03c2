"""Pushes that would count, and make every later sum, step or resume fail: huge entries, weights and numbers.

    python attacks/poison_push.py

Answers:
    an entry of 1e30: INVALID_ARGUMENT: dense.bias: got 1.0000...e+30 at entry 95 (1 of 96 entries are too large to...
    an entry of -3e38: INVALID_ARGUMENT: dense.bias: got -3.0000...e+38 at entry 95 (1 of 96 entries are too large...
    a uniform step of 2**126: INVALID_ARGUMENT: dense.weight: got 2.55...e+38 at entry 0 (6144 of 6144 entries are...
    samples of 2**62: INVALID_ARGUMENT: PushHeader: samples: got 4611686018427387904, want a whole number from 0 to...
    samples of 2**64 - 1: INVALID_ARGUMENT: PushHeader: samples: got 18446744073709551615, want a whole number from...
    a budget of 2**63: INVALID_ARGUMENT: PushEnd: budget: got 9223372036854775808, want a whole number from 0 to 28...
    a loss of infinity: INVALID_ARGUMENT: PushEnd: loss: got inf, want a number from -3.4e+38 to 3.4e+38, or NaN fo...
    times of NaN: INVALID_ARGUMENT: StepTimes: compute: got nan, want a number from 0 to 1e+07
"""

import numpy as np

from gradwire_common.codec.formats import Uniform
from gradwire_common.codec.frames import encode_frame
from gradwire_common.v1 import parameter_server_pb2 as pb
from stage import PlainWorker, Stage, perform

NOTHING = 0.0


def attack(on: Stage) -> None:
    """Push what cannot be added up."""
    evil = on.peer("evil")
    evil.join()

    def push(value: float, samples: int = 1, **end: object) -> pb.Receipt:
        entries = np.zeros(evil.layout.n_parameters, np.float32)
        entries[-1] = value
        with on.paused() as round_:
            *messages, last = evil.gradient_messages(entries, round_, samples)
            last.end.MergeFrom(pb.PushEnd(**end))
            return evil.send([*messages, last])

    def coarse() -> pb.Receipt:
        with on.paused() as round_:
            return evil.send(coarse_push(evil, round_))

    on.tell("an entry of 1e30", lambda: push(1e30))
    on.tell("an entry of -3e38", lambda: push(-3e38))
    on.tell("a uniform step of 2**126", coarse)
    on.tell("samples of 2**62", lambda: push(NOTHING, samples=2**62))
    on.tell("samples of 2**64 - 1", lambda: push(NOTHING, samples=2**64 - 1))
    on.tell("a budget of 2**63", lambda: push(NOTHING, budget=2**63))
    on.tell("a loss of infinity", lambda: push(NOTHING, loss=np.inf))
    on.tell("times of NaN", lambda: push(NOTHING, times=pb.StepTimes(compute=np.nan)))


def coarse_push(evil: PlainWorker, round_: int) -> list[pb.PushMessage]:
    """Return a push whose entries are a few bytes and 3e38."""
    header = pb.PushHeader(
        session=evil.session, kind=pb.PUSH_KIND_GRADIENT, round=round_, base_version=round_ - 1, samples=8
    )
    frames = [encode_frame(np.full(len(unit), 3e38, np.float32), Uniform(2.0**126)) for unit in evil.layout.parameters]
    return list(evil.messages(header, frames))


if __name__ == "__main__":
    perform(attack)
