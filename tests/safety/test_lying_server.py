"""What a worker does with a server that answers anything: an error in one line, soon."""

import threading
import zlib
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
import pytest

from gradwire_common.errors import ConfigError, GradwireError, RangeError
from gradwire_common.methods.frames import encode_exact
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_common.v1 import parameter_server_pb2_grpc as rpc
from gradwire_worker.session import Session, SessionOptions
from gradwire_worker.session.pending import PendingPush
from server.plain_worker import MANIFEST

RAW = {"name": "raw", "options": "{}"}
RIGHT: dict[str, Any] = {
    "session": "s",
    "slot": 0,
    "slots": 1,
    "heartbeat_ms": 50,
    "method": RAW,
    "broadcast": RAW,
    "run": "run",
    "run_id": "id",
    "rounds": 3,
    "late_weight": 1.0,
}


class Liar(rpc.ParameterServerServicer):
    """Answers a join, and beats, as it is told; sends nothing else but a snapshot of ones."""

    def __init__(self, join: dict[str, Any], beat: dict[str, Any], watch: Any = None):
        self._join = pb.JoinReply(**{**RIGHT, **join})
        self._beat = pb.HeartbeatReply(**{"heartbeat_ms": 50, **beat})
        self._watch = watch
        self.watched = 0

    def Join(self, request: Any, context: Any) -> pb.JoinReply:  # noqa: N802
        return self._join

    def Heartbeat(self, request: Any, context: Any) -> pb.HeartbeatReply:  # noqa: N802
        return self._beat

    def Leave(self, request: Any, context: Any) -> pb.LeaveReply:  # noqa: N802
        return pb.LeaveReply()

    def Watch(self, request: Any, context: Any) -> Iterator[pb.WatchMessage]:  # noqa: N802
        self.watched += 1
        if self._watch is not None:
            yield from self._watch
            return
        data = b"".join(encode_exact(np.ones(MANIFEST.layout.size, np.float32), MANIFEST.layout.units))
        header = pb.UpdateHeader(version=0, kind=pb.UPDATE_KIND_SNAPSHOT)
        digest = zlib.crc32(np.ones(MANIFEST.layout.n_parameters, "<f4").tobytes())
        end = pb.UpdateEnd(length=len(data), digest=digest)
        yield pb.WatchMessage(whole=pb.WholeUpdate(header=header, data=data, end=end))
        gone = threading.Event()
        context.add_callback(gone.set)
        gone.wait(60)


@contextmanager
def lying(join: dict[str, Any], beat: dict[str, Any], watch: Any = None) -> Iterator[tuple[str, Liar]]:
    server, liar = grpc.server(futures.ThreadPoolExecutor(8)), Liar(join, beat, watch)
    rpc.add_ParameterServerServicer_to_server(liar, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", liar
    finally:
        server.stop(None).wait()


def enter(address: str, patience: float = 1.0) -> Session:
    options = SessionOptions(worker_id="a", patience=patience)
    return Session.join(address, MANIFEST, lambda: np.zeros(MANIFEST.layout.size, np.float32), options)


def method_of_run(address: str) -> str:
    """Join, look at how pushes are to be coded, and leave."""
    with enter(address) as session:
        return str(session.method)


@pytest.mark.parametrize(
    ("join", "kind", "told"),
    [
        ({"slots": 0}, RangeError, "JoinReply: slots: got 0, want a whole number from 1 to 65536"),
        ({"slots": 2**32 - 1}, RangeError, "slots: got 4294967295"),
        ({"slot": 2**31}, RangeError, "slot: got 2147483648"),
        ({"heartbeat_ms": 0}, RangeError, "heartbeat_ms: got 0"),
        ({"late_weight": float("nan")}, RangeError, "late_weight: got nan"),
        ({"limits": {"chunk_bytes": 2**32 - 1}}, RangeError, "Limits: chunk_bytes: got"),
        ({"limits": {"rate_up": 2**64 - 1}}, RangeError, "Limits: rate_up: got"),
        ({"session": "s" * 4_000_000}, RangeError, "session: got"),
        ({"method": {"name": "entropy", "options": '{"bits": -1}'}}, ConfigError, "bits"),
        ({"broadcast": {"name": "os.system", "options": "{}"}}, ConfigError, "method: got 'os.system'"),
        ({"broadcast": {"name": "raw", "options": "[" * 60_000}}, ConfigError, "want a JSON object"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_an_answer_to_a_join_that_cannot_be_is_one_line(join, kind, told):
    with lying(join, {}) as (address, _), pytest.raises(kind, match=told) as caught:
        method_of_run(address)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("beat", "told"),
    [
        ({"heartbeat_ms": 0}, "HeartbeatReply: heartbeat_ms: got 0"),
        ({"limits": {"transfer_seconds": float("inf")}}, "Limits: transfer_seconds: got inf"),
        ({"wait": {"what": "x" * 100_000}}, "Wait: what: got 100000 characters"),
    ],
)
def test_an_answer_to_a_heartbeat_that_cannot_be_ends_the_wait(beat, told):
    with lying({}, beat) as (address, _):
        session = enter(address)
        with pytest.raises(RangeError, match=told):
            session.wait_for(1)
        session.leave("done")


@pytest.mark.parametrize(
    "watch",
    [
        [pb.WatchMessage(header=pb.UpdateHeader(version=0, kind=pb.UPDATE_KIND_SNAPSHOT))],
        [pb.WatchMessage()] * 0,
    ],
    ids=["a header alone", "nothing"],
)
def test_a_stream_that_brings_nothing_is_given_up_with_the_patience(watch):
    with lying({}, {}, watch) as (address, liar), pytest.raises(GradwireError, match="closed the stream of updates"):
        enter(address, patience=0.5)
    assert liar.watched > 1


def test_a_worker_tells_no_number_that_a_server_would_refuse():
    for loss in (float("inf"), float("-inf"), 1e300):
        push = PendingPush(pb.PUSH_KIND_GRADIENT, 1, 0, 2**40)
        push.close(loss, budget=2**60)
        whole = next(push.messages("s", lambda: 1000, whole_bytes=1000)).whole
        assert np.isnan(whole.end.loss)
        assert (whole.end.budget, whole.header.samples) == (2**48 - 1, 2**32)
