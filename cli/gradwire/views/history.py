"""What is known of a run: its rounds and evaluations, gathered from Status replies, and the figures drawn from them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from gradwire.views.metrics import Curve, curves
from gradwire.views.rates import least_limit
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.aggregation.privacy import Privacy
from gradwire_server.store.record_lines import read_lines

RECENT_ROUNDS = 10  # that displayed figures are averaged over, so that they can be read

TIMES = ("compute", "copy", "fit", "encode", "send", "wait")


@dataclass
class History:
    """Rounds and evaluations of one run, oldest first, each once.

    Attributes:
        label: how people call the run: "2 bits", "float32".
        parameters: entries of one gradient.
        total: rounds that the run will have; 0 for no end.
        waiting_for: what the run waits for, and for how long; empty while it waits for nobody.
        limit_up, limit_down: what the slowest worker may send and is sent, in bytes per second; 0 for no limit.
        bytes_setup: bytes of initial weights and snapshots; part of no round.
        privacy: what noise in the aggregation promises; None where there is none.
    """

    label: str
    parameters: int = 0
    total: int = 0
    phase: str = "starting"
    workers: int = 0
    bytes_setup: int = 0
    waiting_for: str = ""
    limit_up: int = 0
    limit_down: int = 0
    privacy: Privacy | None = None
    rounds: list[pb.RoundRecord] = field(default_factory=list)
    evaluations: list[pb.Evaluation] = field(default_factory=list)

    def add(self, reply: pb.StatusReply) -> None:
        """Take in what a Status reply tells; what is known already is passed over."""
        self.parameters, self.total, self.phase = reply.parameters, reply.rounds, reply.phase
        self.workers = sum(worker.alive for worker in reply.workers)
        self.bytes_setup = reply.bytes_setup
        self.waiting_for = f"{reply.wait.what}, for {reply.wait.seconds:.0f} s" if reply.wait.what else ""
        self.limit_up, self.limit_down = least_limit(reply.workers, "up"), least_limit(reply.workers, "down")
        self.include(reply.records, reply.evaluations)

    def include(self, rounds: Iterable[pb.RoundRecord], evaluations: Iterable[pb.Evaluation]) -> None:
        """Take in rounds, oldest first, and evaluations; those known already are passed over."""
        self.rounds += [record for record in rounds if record.round > self.last_round]
        by_version = {each.version: each for each in [*self.evaluations, *evaluations]}
        self.evaluations = [by_version[version] for version in sorted(by_version)]

    def read(self, file: Path) -> None:
        """Take in the rounds and evaluations of a metrics.jsonl; a line that is neither is named in the log."""
        lines = [message for _, message in read_lines(file)]
        self.include(
            (each for each in lines if isinstance(each, pb.RoundRecord)),
            (each for each in lines if isinstance(each, pb.Evaluation)),
        )

    @property
    def last_round(self) -> int:
        """The newest round known; 0 before the first."""
        return self.rounds[-1].round if self.rounds else 0

    @property
    def recent(self) -> list[pb.RoundRecord]:
        """The newest rounds."""
        return self.rounds[-RECENT_ROUNDS:]

    @property
    def loss(self) -> float | None:
        """Mean training loss of the newest rounds; None where no worker knows it."""
        return mean([record.loss for record in self.recent if not math.isnan(record.loss)])

    @property
    def metrics(self) -> dict[str, Curve]:
        """The metrics of the evaluations, by name."""
        return curves(self.evaluations)

    @property
    def bytes_up(self) -> int:
        """Bytes from workers to server, all rounds and workers, framing included."""
        return sum(record.bytes_up for record in self.rounds)

    @property
    def bytes_down(self) -> int:
        """Bytes from server to workers, all rounds and workers, framing included."""
        return sum(record.bytes_down for record in self.rounds)

    @property
    def bits_up(self) -> float | None:
        """Mean bits on the wire per gradient entry."""
        return mean([record.bits_up for record in self.rounds])

    @property
    def bits_down(self) -> float | None:
        """Mean bits on the wire per entry of the broadcast."""
        return mean([record.bits_down for record in self.rounds])

    @property
    def seconds(self) -> float:
        """Seconds from the first weights to the last round."""
        return sum(record.seconds for record in self.rounds)

    @property
    def epsilon(self) -> float | None:
        """Epsilon of the rounds so far; None where there is no noise."""
        return None if self.privacy is None else self.privacy.epsilon(self.last_round)

    @property
    def eta(self) -> float | None:
        """Seconds that the rest of the run will take at the pace of the newest rounds; None where there is no end."""
        pace = mean([record.seconds for record in self.recent])
        return None if pace is None or not self.total else pace * (self.total - self.last_round)

    def split(self) -> dict[str, float]:
        """Return the mean seconds that the newest rounds' steps took at the workers, by what they did."""
        return {name: mean([getattr(record.worker_times, name) for record in self.recent]) or 0.0 for name in TIMES}


def mean(values: list[float]) -> float | None:
    """Return the mean; None of nothing."""
    return sum(values) / len(values) if values else None
