"""Workers that send and receive as fast as they are let, without pacing, each through a counting TCP forwarder."""

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from gradwire.links.forwarder import Forwarder, Passage
from gradwire_common import __version__, channel
from gradwire_common.chunks import split
from gradwire_common.codec.frames import FRAME_VERSION
from gradwire_common.config import Config
from gradwire_common.manifest import Manifest, TensorSpec
from gradwire_common.update import encode_exact
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_common.v1.parameter_server_pb2_grpc import ParameterServerStub
from gradwire_common.wire import manifest_to_message

CALL_SECONDS = 60.0


@contextmanager
def server_process(**settings: Any) -> Iterator[str]:
    """Run a server as a process of its own; yield its address."""
    with tempfile.TemporaryDirectory() as folder:
        given = {"quantizer": "float32", "optimizer_options": {}, "buffers_every": 0, "heartbeat": 60.0}
        config = Config(**{**given, **settings}, runs=Path(folder), listen="127.0.0.1:0", log_level="error")
        file = Path(folder) / "server.toml"
        file.write_text(config.to_toml())
        command = [sys.executable, "-m", "gradwire", "server", "--config", str(file)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                yield process.stdout.readline().split()[-1]
            finally:
                process.kill()


class Greedy:
    """One worker behind a forwarder of its own."""

    def __init__(self, server: str, name: str, n_entries: int):
        self.forwarder = Forwarder(server)
        self._manifest = Manifest((TensorSpec("weight", (n_entries,)),))
        self._channel = grpc.insecure_channel(self.forwarder.address, options=channel.CLIENT_OPTIONS)
        self.stub: Any = ParameterServerStub(self._channel)  # type: ignore[no-untyped-call]
        request = pb.JoinRequest(
            worker_id=name,
            package_version=__version__,
            protocol_version=channel.PROTOCOL_VERSION,
            frame_version=FRAME_VERSION,
            manifest=manifest_to_message(self._manifest),
        )
        self.joined = self.stub.Join(request, timeout=CALL_SECONDS)

    def messages(self, frames: Sequence[bytes]) -> Iterator[pb.PushMessage]:
        """Yield the messages of a push of initial weights; gRPC takes them as fast as they go."""
        yield pb.PushMessage(header=pb.PushHeader(session=self.joined.session, kind=pb.PUSH_KIND_WEIGHTS))
        offset = 0
        for data in split(frames, lambda: self.joined.limits.chunk_bytes):
            yield pb.PushMessage(chunk=pb.Chunk(offset=offset, data=data))
            offset += len(data)
        yield pb.PushMessage(end=pb.PushEnd(length=offset))

    def passage(self, direction: str) -> Passage:
        """Return what went over its connection in one direction."""
        (connection,) = self.forwarder.connections
        passage: Passage = getattr(connection, direction)
        return passage

    def close(self) -> None:
        """Cut the connection."""
        self._channel.close()
        self.forwarder.close()


def send_greedily(n_workers: int, rate: float, seconds: float, **limits: str) -> list[Passage]:
    """Let workers push at the same time for a while; return what left each of them.

    Args:
        n_workers: how many.
        rate: bytes per second that each may get, to know how much there must be to send.
        seconds: how long.
        limits: settings of the server.
    """
    n_entries = int(rate * seconds * 1.5 / 4) + (1 << 17)
    values = np.random.default_rng(0).standard_normal(n_entries).astype(np.float32)
    frames = list(encode_exact(values, Manifest((TensorSpec("weight", (n_entries,)),)).layout.units, raw=True))
    with ExitStack() as stack:
        server = stack.enter_context(server_process(workers=n_workers, **limits))
        workers = [Greedy(server, f"w{k}", n_entries) for k in range(n_workers)]
        for worker in workers:
            stack.callback(worker.close)
        calls = [worker.stub.Push.future(worker.messages(frames)) for worker in workers]
        time.sleep(seconds)
        for call in calls:
            call.cancel()
        return [worker.passage("up") for worker in workers]


def receive_greedily(n_workers: int, rate: float, seconds: float, **limits: str) -> list[Passage]:
    """Let workers take in snapshot after snapshot for a while; return what reached each of them."""
    n_entries = int(rate * seconds * 1.5 / 4) + (1 << 17)
    values = np.random.default_rng(0).standard_normal(n_entries).astype(np.float32)
    frames = list(encode_exact(values, Manifest((TensorSpec("weight", (n_entries,)),)).layout.units, raw=True))
    with ExitStack() as stack:
        server = stack.enter_context(server_process(workers=n_workers, rate_up="10 Gbit/s", **limits))
        workers = [Greedy(server, f"w{k}", n_entries) for k in range(n_workers)]
        for worker in workers:
            stack.callback(worker.close)
        workers[0].stub.Push(workers[0].messages(frames), timeout=CALL_SECONDS)
        calls = [worker.stub.Watch(pb.WatchRequest(session=worker.joined.session)) for worker in workers]
        for call in calls:
            threading.Thread(target=_drain, args=(call,), daemon=True).start()
        time.sleep(seconds)
        for call in calls:
            call.cancel()
        return [worker.passage("down") for worker in workers]


def _drain(call: Any) -> None:
    try:
        for _ in call:
            pass
    except grpc.RpcError:
        pass
