"""A worker reduced to the protocol: no torch, no threads, no retries."""

import itertools
import re
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from coding import encoded
from gradwire_common import __version__
from gradwire_common.codec.frames import FRAME_VERSION, read_header
from gradwire_common.errors import GradwireError
from gradwire_common.layout.manifest import Manifest, Role, TensorSpec
from gradwire_common.methods.frames import encode_exact
from gradwire_common.methods.method import Method
from gradwire_common.methods.raw import Raw
from gradwire_common.methods.update import add_update, decode_update, largest_update
from gradwire_common.settings.config import Config
from gradwire_common.transport import channel
from gradwire_common.transport.address import Address
from gradwire_common.transport.chunks import split
from gradwire_common.transport.held import unpack_marks
from gradwire_common.transport.wire import manifest_to_message
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_common.v1 import parameter_server_pb2_grpc as rpc
from joining import Joiner

MANIFEST = Manifest(
    (
        TensorSpec("conv.weight", (8, 3, 3, 3)),
        TensorSpec("conv.bias", (8,)),
        TensorSpec("norm.mean", (8,), role=Role.BUFFER),
        TensorSpec("norm.count", (), "int64", Role.BUFFER),
        TensorSpec("fixed", (5, 5), role=Role.FROZEN),
        TensorSpec("dense.weight", (96, 64)),
        TensorSpec("dense.bias", (96,)),
    )
)
RAW = Raw()
SECONDS = 60.0  # most time that a call takes in a test


class PlainWorker:
    """One worker's session. `flat` is what it holds, in layout order."""

    def __init__(
        self,
        address: str,
        worker_id: str,
        manifest: Manifest = MANIFEST,
        options: Any = (),
        credentials: grpc.ChannelCredentials | None = None,
    ):
        options = [*channel.CLIENT_OPTIONS, *options]
        if credentials is None:
            self.channel = grpc.insecure_channel(address, options=options)
        else:
            self.channel = grpc.secure_channel(address, credentials, options=options)
        self.stub = rpc.ParameterServerStub(self.channel)
        self.worker_id = worker_id
        self.claim = b""  # what proves that the id is this worker's
        self.manifest = manifest
        self.layout = manifest.layout
        self.flat = np.zeros(self.layout.size, np.float32)
        self.version = -1
        self.chunk_bytes = 1 << 20
        self.watch_seconds = SECONDS

    def join(self, **changes: Any) -> pb.JoinReply:
        self.joined = self.stub.Join(self.join_request(**changes), timeout=SECONDS)
        self.session, self.chunk_bytes = self.joined.session, self.joined.limits.chunk_bytes
        return self.joined

    def join_request(self, **changes: Any) -> pb.JoinRequest:
        return pb.JoinRequest(
            **{
                "worker_id": self.worker_id,
                "package_version": __version__,
                "protocol_version": channel.PROTOCOL_VERSION,
                "frame_version": FRAME_VERSION,
                "manifest": manifest_to_message(self.manifest),
                "settings": {"task": "test", "seed": "0"},
                "claim": self.claim,
                **changes,
            }
        )

    def watch(self, have_version: int | None = None, held: bytes = b"") -> Any:
        """Open the stream of updates; `receive` reads from it."""
        request = pb.WatchRequest(session=self.session, have_version=have_version, held=held)
        self.stream = self.stub.Watch(request, timeout=self.watch_seconds)
        return self.stream

    def receive(self) -> pb.UpdateHeader | pb.RunEnd:
        """Take the next update in, as the contract has it; return its header, or the end of the run."""
        first = next(self.stream)
        if first.WhichOneof("part") == "run_end":
            return first.run_end
        whole = first.HasField("whole")
        header = first.whole.header if whole else first.header
        snapshot = header.kind == pb.UPDATE_KIND_SNAPSHOT
        units = self.layout.units if snapshot else self.layout.pushed(header.with_buffers)
        left_out = unpack_marks(header.left_out, len(units))
        units = [unit for unit, out in zip(units, left_out, strict=True) if not out]
        joiner, end = Joiner(largest_update(units)), first.whole.end
        if whole:
            joiner.add(0, first.whole.data)
        else:
            for message in self.stream:
                if message.WhichOneof("part") == "end":
                    end = message.end
                    break
                joiner.add(message.chunk.offset, message.chunk.data)
        data, n = joiner.join(end.length), self.layout.n_parameters
        if header.kind == pb.UPDATE_KIND_CHANGE:
            parameters = split_length(data, self.layout.parameters)
            add_update(data[:parameters], self.layout.parameters, 1.0, self.flat)
            decode_update(data[parameters:], units[len(self.layout.parameters) :], self.flat)
        else:
            decode_update(data, units, self.flat)
        self.version = header.version
        self.digest = end.digest
        assert self.digest == digest(self.flat[:n])
        return header

    def push_weights(self, flat: np.ndarray) -> pb.Receipt:
        return self.send(self.messages(self.weights_header(), encode_exact(flat, self.layout.units)))

    def weights_header(self) -> pb.PushHeader:
        return pb.PushHeader(session=self.session, kind=pb.PUSH_KIND_WEIGHTS)

    def push(self, gradient: np.ndarray, round_: int, samples: int = 1, **changes: Any) -> pb.Receipt:
        """Push `gradient`, (n_parameters,) or with buffers, for a round."""
        return self.send(self.gradient_messages(gradient, round_, samples, **changes))

    def gradient_messages(
        self, gradient: np.ndarray, round_: int, samples: int = 1, method: Method = RAW, **changes: Any
    ) -> Iterator[pb.PushMessage]:
        with_buffers = len(gradient) > self.layout.n_parameters
        header = pb.PushHeader(
            session=self.session,
            kind=pb.PUSH_KIND_GRADIENT,
            round=round_,
            base_version=round_ - 1,
            samples=samples,
            with_buffers=with_buffers,
        )
        header.MergeFrom(pb.PushHeader(**changes))
        frames = encoded(method, self.layout, gradient, with_buffers=with_buffers)
        return self.messages(header, frames)

    def messages(self, header: pb.PushHeader, frames: Iterable[bytes], loss: float = 0.5) -> Iterator[pb.PushMessage]:
        yield pb.PushMessage(header=header)
        offset = 0
        for data in split(frames, lambda: self.chunk_bytes):
            yield pb.PushMessage(chunk=pb.Chunk(offset=offset, data=data))
            offset += len(data)
        yield pb.PushMessage(end=pb.PushEnd(length=offset, loss=loss))

    def whole(self, messages: Iterable[pb.PushMessage]) -> pb.PushMessage:
        """Return the one message that does what `messages` do."""
        first, *chunks, last = messages
        data = b"".join(message.chunk.data for message in chunks)
        return pb.PushMessage(whole=pb.WholePush(header=first.header, data=data, end=last.end))

    def send(self, messages: Iterable[pb.PushMessage]) -> pb.Receipt:
        return self.stub.Push(iter(messages), timeout=SECONDS)

    def staged(self, round_: int) -> pb.StagedReply:
        request = pb.StagedRequest(session=self.session, kind=pb.PUSH_KIND_GRADIENT, round=round_)
        return self.stub.Staged(request, timeout=SECONDS)

    def begin(self, flat: np.ndarray | None = None) -> "PlainWorker":
        """Join, push initial weights if they are wanted, and take the snapshot in."""
        if self.join().weights_wanted:
            self.push_weights(initial_weights(self.layout.size) if flat is None else flat)
        self.watch()
        self.receive()
        return self

    def heartbeat(self) -> pb.HeartbeatReply:
        return self.stub.Heartbeat(pb.HeartbeatRequest(session=self.session), timeout=SECONDS)

    def leave(self) -> None:
        self.stub.Leave(pb.LeaveRequest(session=self.session), timeout=SECONDS)

    def status(self, after_round: int = 0) -> pb.StatusReply:
        return self.stub.Status(pb.StatusRequest(after_round=after_round), timeout=SECONDS)


def run_config(runs: Path, **changes: object) -> Config:
    """Return the settings of a short run in float32, of plain SGD at lr 0.1."""
    settings = {
        "runs": runs,
        "listen": "127.0.0.1:0",
        "workers": 2,
        "rounds": 3,
        "quantizer": "float32",
        "optimizer_options": {},
        "buffers_every": 0,
        "evaluate_every": 2,
        "heartbeat": 20.0,  # plain workers have none of their own
        "most_refused": 0,  # what they push is wrong again and again, on purpose
    }
    return Config(**{**settings, **changes})


@contextmanager
def plain_workers(address: str, n: int, **options: Any) -> Iterator[list[PlainWorker]]:
    """Make workers "a", "b", ... that have not joined yet; close their channels in the end."""
    workers = [PlainWorker(address, name, **options) for name in itertools.islice("abcdefgh", n)]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.channel.close()


@contextmanager
def beating(worker: PlainWorker, seconds: float = 0.2) -> Iterator[None]:
    """Let `worker` be heard of every `seconds` while the body runs."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(seconds):
            worker.heartbeat()

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def initial_weights(size: int = MANIFEST.layout.size) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(size).astype(np.float32)


def gradient_of(seed: int, size: int = MANIFEST.layout.n_parameters) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


def digest(values: np.ndarray) -> int:
    return zlib.crc32(values.tobytes())


@contextmanager
def refused(kind: type[GradwireError], match: str) -> Iterator[None]:
    """Expect a call to be refused with one line that says `match`, and with the status of its kind."""
    with pytest.raises(grpc.RpcError) as caught:
        yield
    error = channel.error_of(caught.value, Address("server", 50051))
    assert type(error) is kind, error
    assert re.search(match, str(error)), error
    assert "\n" not in str(error)
    assert caught.value.code() is channel.status_of(error)


def split_length(data: bytes, units: Any) -> int:
    """Return how many bytes of `data` are the frames of `units`."""
    place = 0
    for _ in units:
        place += read_header(data[place:]).frame_length
    return place
