"""The run's book: bytes by round, records of committed rounds, evaluations, and metrics.jsonl."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from gradwire_common.transport.wire import metrics_to_messages
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.rounds.evaluations import Evaluation
from gradwire_server.store.lines import LineFile
from gradwire_server.store.record_lines import read_lines, written

MAX_RECORDS_SENT = 1000  # rounds in one reply to Status
MAX_EVALUATIONS_SENT = 100  # of 32 metrics with names of 64 characters each: at most 1 MiB of gRPC's 4


class Records:
    """Keeps what happened, and writes each line of metrics.jsonl as soon as it is final.

    A round's record is final when its update has been sent to all who wait for it. Bytes that belong to a round whose
    record is final already (a slow watcher's) are counted in the oldest round that is not, so that none is lost.

    Args:
        path: the file to write; emptied unless a run is resumed.
        resume: keep what the file holds.
        n_parameters: entries of a push, for bits per entry; may be set later.
    """

    def __init__(self, path: Path, *, resume: bool = False):
        self._file = LineFile(path, kept=resume)
        self.n_parameters = 0
        self.rounds: list[pb.RoundRecord] = []
        self.seconds = 0.0  # of all of them
        self.evaluations: list[pb.Evaluation] = []
        self.bytes_setup = 0
        self._pending: dict[int, pb.RoundRecord] = {}
        self._up: defaultdict[int, int] = defaultdict(int)
        self._down: defaultdict[int, int] = defaultdict(int)
        self._receivers: defaultdict[int, set[int]] = defaultdict(set)

    def sent_up(self, round_: int, n_bytes: int) -> None:
        """Count bytes that workers sent for a round; for round 0, in order to begin."""
        if round_ == 0:
            self.bytes_setup += n_bytes
        else:
            self._up[max(round_, self._oldest)] += n_bytes

    def sent_down(self, version: int, slot: int, n_bytes: int) -> None:
        """Count bytes that the worker at `slot` was sent of a version's update; of version 0, in order to begin."""
        if version == 0:
            self.bytes_setup += n_bytes
        else:
            self._down[max(version, self._oldest)] += n_bytes
            self._receivers[max(version, self._oldest)].add(slot)

    def sent_reply(self, round_: int, n_bytes: int) -> None:
        """Count the bytes of an answer to a call that belongs to a round, or to the beginning."""
        if round_ == 0:
            self.bytes_setup += n_bytes
        else:
            self._down[max(round_, self._oldest)] += n_bytes

    def commit(self, record: pb.RoundRecord) -> None:
        """Take a committed round whose bytes are still being counted."""
        self._pending[record.round] = record

    def finish(self, version: int) -> None:
        """Make the records of rounds up to `version` final."""
        for round_ in sorted(number for number in self._pending if number <= version):
            record = self._pending.pop(round_)
            receivers = len(self._receivers.pop(round_, ()))
            record.bytes_up, record.bytes_down = self._up.pop(round_, 0), self._down.pop(round_, 0)
            record.bits_up = self._bits_per_entry(record.bytes_up, record.contributors)
            record.bits_down = self._bits_per_entry(record.bytes_down, receivers)
            self._add(record)
            self._write(record)

    @property
    def open(self) -> list[pb.RoundRecord]:
        """The records of committed rounds that are not final yet, oldest first."""
        return list(self._pending.values())

    def resume(self, version: int, replayed: Iterable[pb.RoundRecord]) -> None:
        """Continue the book of a run that had reached `version`; `replayed` are its newest rounds, bytes excepted.

        Raises:
            OSError: it cannot be written.
        """
        kept = []
        for line, message in read_lines(self._file.path):
            if isinstance(message, pb.RoundRecord) and self._oldest <= message.round <= version:
                self._add(message)
                kept.append(line)
            elif isinstance(message, pb.Evaluation) and message.version <= version:
                self.evaluations.append(message)
                kept.append(line)
        self._file.replace(kept)
        for record in replayed:
            if record.round >= self._oldest:
                self._add(record)
                self._write(record)

    def evaluated(self, evaluation: Evaluation) -> None:
        """Take an evaluation that is complete."""
        message = pb.Evaluation(version=evaluation.version, metrics=metrics_to_messages(evaluation.metrics))
        self.evaluations.append(message)
        self._write(message)

    def after(self, round_: int) -> list[pb.RoundRecord]:
        """Return the records of the rounds after `round_`, as many as one reply may hold."""
        start = bisect_right(self.rounds, round_, key=lambda record: record.round)
        return self.rounds[start : start + MAX_RECORDS_SENT]

    @property
    def newest_evaluations(self) -> list[pb.Evaluation]:
        """The newest evaluations, as many as one reply may hold, oldest first."""
        return self.evaluations[-MAX_EVALUATIONS_SENT:]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def _oldest(self) -> int:
        """The oldest round whose record is not final."""
        return self.rounds[-1].round + 1 if self.rounds else 1

    def _add(self, record: pb.RoundRecord) -> None:
        self.rounds.append(record)
        self.seconds += record.seconds

    def _bits_per_entry(self, n_bytes: int, workers: int) -> float:
        return 8 * n_bytes / (workers * self.n_parameters) if workers and self.n_parameters else 0.0

    def _write(self, message: pb.RoundRecord | pb.Evaluation) -> None:
        self._file.add(written(message))
