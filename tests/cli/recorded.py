"""Rounds and evaluations as a server would have recorded them."""

import math

from gradwire.views.history import History
from gradwire_common.v1 import parameter_server_pb2 as pb

PARAMETERS = 40_000


def history(label="2 bits", *, rounds=120, total=200, bits=2.0):
    made = History(label, parameters=PARAMETERS, total=total)
    made.include(
        [record(n, bits=bits) for n in range(1, rounds + 1)],
        [evaluation(n) for n in range(10, rounds + 1, 10)],
    )
    return made


def record(n, *, bits=2.0, loss=None, seconds=0.05):
    n_bytes = int(2 * bits * PARAMETERS / 8) + 500
    times = pb.StepTimes(compute=0.02, copy=0.001, fit=0.004, encode=0.005, send=0.002, wait=0.008)
    return pb.RoundRecord(
        round=n,
        contributors=2,
        samples=128,
        loss=2.3 * math.exp(-n / 30) if loss is None else loss,
        bytes_up=n_bytes,
        bytes_down=n_bytes + 100,
        bits_up=8 * n_bytes / PARAMETERS / 2,
        bits_down=8 * (n_bytes + 100) / PARAMETERS / 2,
        seconds=seconds,
        worker_times=times,
    )


def evaluation(version, accuracy=None):
    accuracy = 0.98 - 0.8 * math.exp(-version / 25) if accuracy is None else accuracy
    metrics = [
        pb.Metric(name="accuracy", sum=360 * accuracy, count=360),
        pb.Metric(name="loss", sum=36, count=360, lower_is_better=True),
    ]
    return pb.Evaluation(version=version, metrics=metrics)
