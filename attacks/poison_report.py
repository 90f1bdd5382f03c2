"""Reports and joins that would break the books: counts that overflow, sums that are no numbers.

    python attacks/poison_report.py

Answers:
    a count of 2**63: FAILED_PRECONDITION: metric loss: got a count of 9223372036854775808, want a whole number fro...
    a sum of infinity: INVALID_ARGUMENT: metric loss: got a sum of inf over 1 samples, want a finite one
    a sum of NaN: INVALID_ARGUMENT: metric loss: got a sum of nan over 1 samples, want a finite one
    a name with a newline: FAILED_PRECONDITION: metric ...
    slot 2**32 - 1: INVALID_ARGUMENT: JoinRequest: slot: got 4294967295, want a whole number from 0 to 65535
    a limit of 2**64 - 1: INVALID_ARGUMENT: LimitChanges: rate_up: got 18446744073709551615, want a whole number fr...
    the status: answered
"""

import numpy as np

from gradwire_common.v1 import parameter_server_pb2 as pb
from stage import Stage, perform


def attack(on: Stage) -> None:
    """Report what no record can hold, and ask for what no status can show."""
    evil = on.peer("evil")
    evil.join()

    def report(**metric: object) -> object:
        told = pb.Metric(**{"name": "loss", "sum": 1.0, "count": 1, **metric})
        return evil.stub.Report(pb.EvaluationReport(session=evil.session, version=2, metrics=[told]), timeout=30)

    on.tell("a count of 2**63", lambda: report(count=2**63))
    on.tell("a sum of infinity", lambda: report(sum=np.inf))
    on.tell("a sum of NaN", lambda: report(sum=np.nan))
    on.tell("a name with a newline", lambda: report(name="loss\nforged"))
    on.tell("slot 2**32 - 1", lambda: on.peer("far").join(slot=2**32 - 1))
    limits = pb.LimitChanges(rate_up=2**64 - 1, burst=2**64 - 1)
    on.tell("a limit of 2**64 - 1", lambda: evil.stub.Limit(pb.LimitRequest(changes=limits), timeout=30))
    on.tell("the status", evil.status)


if __name__ == "__main__":
    perform(attack)
