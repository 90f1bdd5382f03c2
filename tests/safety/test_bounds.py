"""Every field of every message has a range; what is out of it is refused with its name, what came and what is right."""

import math

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.message_factory import GetMessageClass

from gradwire_common.errors import RangeError
from gradwire_common.transport import bounds
from gradwire_common.v1 import parameter_server_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["ParameterServer"]
BY_OTHER_MEANS = {"Manifest"}  # packing.parse
READ_BY_WORKERS = {"Join", "Introduce", "Push", "Staged", "Watch", "Heartbeat"}  # other answers are shown to people


def reached(kind: Descriptor, found: dict[str, Descriptor]) -> dict[str, Descriptor]:
    """Add `kind` and all messages in it to `found`."""
    if kind.name in found or kind.name in BY_OTHER_MEANS or kind.GetOptions().map_entry:
        return found
    found[kind.name] = kind
    for field in kind.fields:
        if field.message_type is not None:
            reached(field.message_type, found)
    return found


def all_messages() -> list[Descriptor]:
    found: dict[str, Descriptor] = {}
    for method in SERVICE.methods:
        reached(method.input_type, found)
        if method.name in READ_BY_WORKERS:
            reached(method.output_type, found)
    return list(found.values())


@pytest.mark.parametrize("kind", all_messages(), ids=lambda kind: kind.name)
def test_the_table_has_every_field_of_every_message_that_is_read(kind):
    assert set(bounds.bounded_fields(GetMessageClass(kind))) == {field.name for field in kind.fields}


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (pb.JoinRequest(slot=2**16), "JoinRequest: slot: got 65536, want a whole number from 0 to 65535"),
        (pb.JoinRequest(slot=2**32 - 1), "slot: got 4294967295"),
        (pb.JoinRequest(package_version="9" * 33), "package_version: got 33 characters, want at most 32"),
        (pb.JoinRequest(settings={str(n): "" for n in range(65)}), "settings: got 65, want at most 64"),
        (pb.JoinRequest(settings={"seed": "x" * 1025}), "settings: seed: got 1025 characters, want at most 1024"),
        (
            pb.JoinRequest(settings={"\x1b" * 70: ""}),
            r"settings: (\\x1b){32}\.\.\. \(70 characters\): got 70 characters",
        ),
        (pb.JoinRequest(manifest_digest=bytes(65)), "manifest_digest: got 65 bytes, want at most 64"),
        (pb.HeartbeatRequest(session="s" * 3_000_000), "session: got 3000000 characters, want at most 64"),
        (pb.PushMessage(header={"samples": 2**33}), "PushHeader: samples: got 8589934592"),
        (pb.PushMessage(whole={"end": {"times": {"fit": math.nan}}}), "StepTimes: fit: got nan, want a number from 0"),
        (pb.PushMessage(end={"loss": math.inf}), "PushEnd: loss: got inf"),
        (pb.LimitRequest(changes={"burst": 2**53 + 1}), "LimitChanges: burst: got 9007199254740993"),
        (pb.LimitRequest(worker_id="w" * 65), "worker_id: got 65 characters"),
        (pb.EvaluationReport(metrics=[pb.Metric()] * 33), "metrics: got 33, want at most 32"),
        (pb.WatchRequest(have_version=2**63), "have_version: got 9223372036854775808"),
        (pb.JoinReply(slots=0, heartbeat_ms=1), "JoinReply: slots: got 0, want a whole number from 1 to 65536"),
        (pb.JoinReply(slots=1, heartbeat_ms=0), "heartbeat_ms: got 0, want a whole number from 1"),
        (pb.JoinReply(slots=1, heartbeat_ms=1, late_weight=-0.5), "late_weight: got -0.5, want a number from 0 to 1"),
        (pb.JoinReply(slots=1, heartbeat_ms=1, limits={"chunk_bytes": 2**31}), "Limits: chunk_bytes: got 2147483648"),
        (pb.HeartbeatReply(heartbeat_ms=1, limits={"transfer_seconds": math.inf}), "transfer_seconds: got inf"),
    ],
    ids=lambda each: type(each).__name__ if not isinstance(each, str) else "",
)
def test_a_field_out_of_its_range_is_refused_by_name(message, told):
    with pytest.raises(RangeError, match=told) as caught:
        bounds.check(message)
    assert len(str(caught.value)) <= 400
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "message",
    [
        pb.JoinRequest(slot=2**16 - 1, settings={"s" * 64: "x" * 1024}),
        pb.JoinRequest(),
        pb.PushMessage(header={"samples": 2**32, "round": 2**53}),
        pb.PushMessage(end={"loss": math.nan, "budget": 2**48 - 1, "times": {"wait": 1e7}}),
        pb.PushMessage(end={"loss": -3e38}),
        pb.JoinReply(slots=2**16, slot=2**16 - 1, heartbeat_ms=1, late_weight=1.0),
    ],
    ids=str,
)
def test_what_stands_at_the_end_of_a_range_is_in_it(message):
    bounds.check(message)
