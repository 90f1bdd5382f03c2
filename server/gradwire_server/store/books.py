"""The books of a run: records of its rounds and evaluations of its versions, written down as they become final."""

from collections.abc import Sequence, Set

from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.rounds.evaluations import Evaluations
from gradwire_server.rounds.member import Member
from gradwire_server.store.records import Records


class Books:
    """Records and evaluations, which are final once every member that is alive has its update, and its say."""

    def __init__(self, records: Records, evaluations: Evaluations):
        self.records = records
        self.evaluations = evaluations

    def commit(self, record: pb.RoundRecord, expected: Set[int]) -> None:
        """Take the record of a round that is over, and expect evaluations of `expected` slots where they are due.

        The round before is final: all have its update by now.
        """
        self.records.finish(record.round - 1)
        self.records.commit(record)
        self.evaluations.expect(record.round, frozenset(expected))

    def settle(self, alive: Sequence[Member], *, ended: bool = False) -> None:
        """Write down what has become final; all evaluations where no further report can come."""
        if alive:
            self.records.finish(min(member.sent for member in alive))
        for evaluation in self.evaluations.take_complete({member.slot for member in alive}, ended=ended):
            self.records.evaluated(evaluation)

    def close(self, alive: Sequence[Member], version: int) -> None:
        """Write down all that is left once no call comes any more."""
        self.settle(alive, ended=True)
        self.records.finish(version)
