"""A push that counts, and what the journal says of it and of the round that it made."""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self

from google.protobuf.json_format import MessageToDict, ParseDict

from gradwire_common.errors import CheckpointError
from gradwire_common.step_options import Groups
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.aggregation.push import Push
from gradwire_server.store.journal import Kind, Record


@dataclass(frozen=True, slots=True)
class Contribution:
    """A whole push and what its worker told with it.

    Attributes:
        payload: bytes of the push's frames, which may be gone by now.
        round: that its worker pushed it for: one more than the version that it was computed on, as a rule.
        budget: bytes on the wire that it was allowed; 0 for no budget.
        spent: bytes on the wire that it took.
        bounded: whether it was held to the bounds before it counted; builds that had none left it in journals.
        options: what its worker has the parameter groups' options be; () where it leaves them to the server.
    """

    worker: str
    round: int
    push: Push
    payload: int
    loss: float
    times: pb.StepTimes
    budget: int = 0
    spent: int = 0
    bounded: bool = True
    options: Groups = ()

    def without_frames(self) -> Self:
        """Return what is known of a push whose frames have been added and are needed no more."""
        return replace(self, push=replace(self.push, data=memoryview(b"")))


_KINDS = {  # of what the journal says of a push
    "worker": str,
    "slot": int,
    "round": int,
    "samples": int,
    "with_buffers": bool,
    "digest": int,
    "loss": float,
    "budget": int,
    "spent": int,
}


def push_record(slot: int, contribution: Contribution) -> Record:
    """Return the journal's record of a push."""
    push = contribution.push
    meta = {
        "worker": contribution.worker,
        "slot": slot,
        "round": contribution.round,
        "samples": push.samples,
        "with_buffers": push.with_buffers,
        "digest": push.digest,
        "loss": contribution.loss,
        "budget": contribution.budget,
        "spent": contribution.spent,
        "times": MessageToDict(contribution.times, preserving_proto_field_name=True),
        "bounded": contribution.bounded,
    }
    if contribution.options:
        meta["options"] = contribution.options
    return Record(Kind.PUSH, meta, push.data)


def contribution_of(record: Record) -> Contribution:
    """Return the push of a record that `push_record` made. Raises CheckpointError or KeyError where it did not."""
    meta = record.meta
    for name, kind in _KINDS.items():
        if type(meta[name]) is not kind:
            raise CheckpointError(f"journal: {name} of a push is {type(meta[name]).__name__}, want {kind.__name__}")
    push = Push(memoryview(record.data), meta["samples"], meta["with_buffers"], meta["digest"])
    times = ParseDict(meta["times"], pb.StepTimes())
    told = meta["loss"], times, meta["budget"], meta["spent"], meta.get("bounded", False)
    options: Groups = tuple(meta.get("options", ()))
    return Contribution(meta["worker"], meta["round"], push, len(push.data), *told, options)


def commit_record(
    record: pb.RoundRecord,
    pushes: Iterable[tuple[int, Contribution]],
    options: Groups = (),
    present: Mapping[str, int] | None = None,
) -> Record:
    """Return the journal's record of a round that closed.

    Args:
        record: of the round.
        pushes: the pushes of which slots, in the order of their sum.
        options: what was set of the optimizer's options before its step; () for nothing.
        present: the slots of the workers that the next round may be of, by id; None where it is of those that push.
    """
    meta = {
        "round": record.round,
        "pushes": [[slot, each.worker, each.push.digest, each.round] for slot, each in pushes],
        "record": text_of(record),
    }
    if options:
        meta["options"] = options
    if present is not None:
        meta["present"] = dict(present)
    return Record(Kind.COMMIT, meta)


def text_of(record: pb.RoundRecord) -> str:
    """Return the record of a round as JSON can hold it."""
    return base64.b64encode(record.SerializeToString()).decode()


def round_record_of(text: str) -> pb.RoundRecord:
    """Return the record that `text_of` made a text of."""
    return pb.RoundRecord.FromString(base64.b64decode(text))
