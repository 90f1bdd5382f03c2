"""Any message to any call, made of the protobuf descriptors, beside an honest run: `make fuzz-rpc`, fewer in the tests.

No call may answer INTERNAL or UNKNOWN, no traceback may be logged, Status always answers, and the honest run has the
weights that it would have alone. What is right as it stands is left out where it belongs to others: ids and slots of
the honest workers, and limits that would slow them for good.
"""

import argparse
import io
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from gradwire_common import __version__
from gradwire_common.codec.frames import FRAME_VERSION
from gradwire_common.methods.frames import encode_exact
from gradwire_common.transport.channel import PROTOCOL_VERSION
from gradwire_common.transport.packing import digest_of, serialize
from gradwire_common.transport.wire import manifest_to_message
from gradwire_common.v1 import parameter_server_pb2 as pb
from safety.honest import HonestPair, honest_pair, serving, undisturbed
from server.plain_worker import MANIFEST, PlainWorker, run_config

SERVICE = pb.DESCRIPTOR.services_by_name["ParameterServer"]
CALLS = {method.name: method for method in SERVICE.methods}
SECONDS = 20.0  # that a call may take
WATCH_SECONDS = 7 * 86_400.0
ROUND_EVERY = 10  # calls between rounds of the honest run
OWN_SESSION = "\0own"  # stands for the session of the worker that sends
WRONG = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)

FRAMES = b"".join(encode_exact(np.ones(MANIFEST.layout.size, np.float32), MANIFEST.layout.parameters))
KNOWN: dict[str, st.SearchStrategy[Any]] = {  # by field: values that come further than noise does
    "worker_id": st.sampled_from(["evil", "evil2", "", "..", "x" * 64, "x" * 65, "e\n", "\x1b[2J"]),
    "session": st.sampled_from([OWN_SESSION, OWN_SESSION, OWN_SESSION, "", "s" * 100]),
    "package_version": st.just(__version__),
    "protocol_version": st.just(PROTOCOL_VERSION),
    "frame_version": st.just(FRAME_VERSION),
    "manifest_digest": st.sampled_from([digest_of(serialize(MANIFEST)), b"", bytes(32), bytes(100)]),
    "claim": st.sampled_from([b"", bytes(100)]),  # another one would keep the id from the worker that sends
    "settings": st.just({"task": "test", "seed": "0"}),
    "slot": st.sampled_from([0, 1, 2, 7, 2**16 - 1, 2**16, 2**31, 2**32 - 1]),
    "kind": st.sampled_from([0, 1, 2, 3, 77]),
    "round": st.sampled_from([0, 1, 2, 3, 5, 2**32, 2**53, 2**63, 2**64 - 1]),
    "base_version": st.sampled_from([0, 1, 2, 4, 2**64 - 1]),
    "version": st.sampled_from([0, 1, 2, 4, 2**53, 2**64 - 1]),
    "samples": st.sampled_from([0, 1, 8, 2**32, 2**53, 2**64 - 1]),
    "length": st.sampled_from([0, 1, len(FRAMES), 2**64 - 1]),
    "offset": st.sampled_from([0, 0, 0, 1, len(FRAMES), 2**64 - 1]),
    "budget": st.sampled_from([0, 1, 2**48 - 1, 2**48, 2**63]),
    "data": st.one_of(st.binary(max_size=80), st.just(FRAMES[:-9]), st.just(FRAMES + b"x"), st.just(bytes(2000))),
}
_NUMBERS = st.sampled_from([0, 1, 2, 255, 2**16, 2**31, 2**32 - 1])
_LARGE = st.one_of(_NUMBERS, st.sampled_from([2**48, 2**53, 2**63, 2**64 - 1]))
_REALS = st.sampled_from([0.0, 1.0, -1.0, 0.5, 1e-300, 3e38, 1e300, float("inf"), float("-inf"), float("nan")])
SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_UINT32: _NUMBERS,
    FieldDescriptor.TYPE_UINT64: _LARGE,
    FieldDescriptor.TYPE_SINT64: _LARGE.filter(lambda value: value < 2**63),
    FieldDescriptor.TYPE_FIXED32: _NUMBERS,
    FieldDescriptor.TYPE_FLOAT: _REALS,
    FieldDescriptor.TYPE_DOUBLE: _REALS,
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_ENUM: st.sampled_from([0, 1, 2, 3, 4, 2**31 - 1]),
    FieldDescriptor.TYPE_STRING: st.one_of(
        st.text(max_size=12), st.sampled_from(["x" * 5000, "loss", "accuracy", "float32", "[/red]", "\x1b]52;c;x\x07"])
    ),
    FieldDescriptor.TYPE_BYTES: st.one_of(st.binary(max_size=40), st.just(bytes(70_000))),
}


@st.composite
def message_of(draw: st.DrawFn, kind: Descriptor, depth: int = 0) -> Message:
    """A message of any contents, mostly with the fields that take it further."""
    message = GetMessageClass(kind)()
    if kind.name == "Manifest" and draw(st.booleans()):
        message.MergeFrom(manifest_to_message(MANIFEST))
        return message
    for field in kind.fields:
        if not draw(st.integers(0, 3)) or (field.containing_oneof and draw(st.booleans())):
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            _fill_map(draw, message, field)
        elif field.is_repeated:
            for _ in range(draw(st.integers(0, 3))):
                if field.message_type is not None:
                    getattr(message, field.name).add().MergeFrom(draw(message_of(field.message_type, depth + 1)))
                else:
                    getattr(message, field.name).append(draw(_value(field)))
        elif field.message_type is not None:
            getattr(message, field.name).MergeFrom(draw(message_of(field.message_type, depth + 1)))
        else:
            setattr(message, field.name, draw(_value(field)))
    return message


def _value(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    known = KNOWN.get(field.name)
    if known is None or (field.name == "kind" and field.type != FieldDescriptor.TYPE_ENUM):
        return SCALARS[field.type]
    return known


def _fill_map(draw: st.DrawFn, message: Message, field: FieldDescriptor) -> None:
    entries = getattr(message, field.name)
    if field.name in KNOWN and draw(st.booleans()):
        entries.update(draw(KNOWN[field.name]))
        return
    value = field.message_type.fields_by_name["value"]
    for name in draw(st.lists(st.text(max_size=70), max_size=4)):
        entries[name] = draw(SCALARS[value.type])


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, list[Message]]:
    """A call, and the messages that are sent: one, or for a stream any number."""
    method = CALLS[draw(st.sampled_from(sorted(CALLS)))]
    n = draw(st.integers(0, 4)) if method.client_streaming else 1
    return method.name, [draw(message_of(method.input_type)) for _ in range(n)]


class Attacker:
    """Sends what was drawn, under a session of its own where one is wanted; looks after each call that all is well.

    Attributes:
        answers: how many calls ended with each status.
    """

    def __init__(self, pair: HonestPair, address: str):
        self._pair = pair
        self._worker = PlainWorker(address, "evil")
        self._n_calls = 0
        self.answers: dict[str, int] = {}

    def attack(self, call: tuple[str, list[Message]]) -> None:
        """Make one call. Raises AssertionError where it should have been answered in another way."""
        name, messages = call
        self._worker.join()
        for message in messages:
            _replace_session(message, self._worker.session)
        code, details = self._answer(name, messages)
        self.answers[code.name] = self.answers.get(code.name, 0) + 1
        assert code not in WRONG, (name, code, details)
        assert len(details) < 500, details
        self._undo(name, messages)
        self._worker.join()
        self._worker.leave()  # what it watches, no round is to wait for
        self._worker.status()
        self._n_calls += 1
        if self._n_calls % ROUND_EVERY == 0:
            self._pair.play()

    def close(self) -> None:
        """Close the connection."""
        self._worker.channel.close()

    def _undo(self, name: str, messages: list[Message]) -> None:
        """Take back what an admin may do and an honest run would feel."""
        stub = self._worker.stub
        if name == "Limit":
            changes = {field.name: 0 for field in pb.LimitChanges.DESCRIPTOR.fields if "burst" not in field.name}
            stub.Limit(pb.LimitRequest(changes=changes), timeout=SECONDS)
        elif name == "Pause":
            stub.Pause(pb.PauseRequest(), timeout=SECONDS)
        elif name == "Remove":
            with suppress(grpc.RpcError):  # it was not removed
                stub.Admit(pb.AdmitRequest(worker_id=messages[0].worker_id), timeout=SECONDS)

    def _answer(self, name: str, messages: list[Message]) -> tuple[grpc.StatusCode, str]:
        method, stub = CALLS[name], getattr(self._worker.stub, name)
        try:
            answer = stub(iter(messages) if method.client_streaming else messages[0], timeout=SECONDS)
            if method.server_streaming:
                next(answer, None)  # the first message, then no more is read
                answer.cancel()
        except grpc.RpcError as error:
            return error.code(), error.details() or ""
        return grpc.StatusCode.OK, ""


def _replace_session(message: Message, session: str) -> None:
    for field, value in message.ListFields():
        if field.name == "session" and value == OWN_SESSION:
            message.session = session
        elif field.message_type is not None and not field.is_repeated:
            _replace_session(value, session)


@contextmanager
def _log() -> Iterator[io.StringIO]:
    """Collect what is logged while the body runs."""
    text = io.StringIO()
    handler, root = logging.StreamHandler(text), logging.getLogger()
    root.addHandler(handler)
    try:
        yield text
    finally:
        root.removeHandler(handler)


def fuzz(runs: Path, n_examples: int, number: int | None = None) -> dict[str, int]:
    """Make `n_examples` calls to a server; return how many ended with each status.

    Args:
        runs: folder of the run.
        n_examples: calls.
        number: seed; the same ones each time where None.
    """
    config = run_config(runs, rounds=0, evaluate_every=2, checkpoint_every=0)
    with _log() as text, serving(config) as server, honest_pair(server.address) as pair:
        for worker in pair.workers:
            worker.watch_seconds = WATCH_SECONDS
        pair.begin()
        attacker = Attacker(pair, server.address)
        plain = settings(
            max_examples=n_examples,
            deadline=None,
            database=None,
            derandomize=number is None,
            phases=[Phase.generate],  # calls depend on those before, so nothing is to be shrunk
            suppress_health_check=list(HealthCheck),
        )

        @given(calls())
        def attack(call: tuple[str, list[Message]]) -> None:
            attacker.attack(call)

        plain(attack if number is None else seed(number)(attack))()
        pair.play()
        attacker.close()
        for worker in pair.workers:
            assert_array_equal(worker.flat, undisturbed(pair.version))
    assert "Traceback" not in text.getvalue(), text.getvalue()
    return attacker.answers


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        answers = fuzz(Path(folder), arguments.calls, arguments.seed)
    for status, n in sorted(answers.items()):
        print(f"{status:22} {n:>9,}")
