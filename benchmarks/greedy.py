"""Workers that send and receive as fast as they are let, without pacing, each through a counting TCP forwarder."""

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from gradwire.links.forwarder import Forwarder, Passage
from gradwire.links.profile import Link
from gradwire_common.errors import GradwireError
from gradwire_common.layout.manifest import Manifest, TensorSpec
from gradwire_common.methods.frames import encode_exact
from gradwire_common.settings.config import Config
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_worker.session import SessionOptions
from gradwire_worker.session.client import Client
from gradwire_worker.session.pending import PendingPush

PUSH_SECONDS = 5.0  # that one push or snapshot takes at the rate; one follows on the other


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
    """One worker behind a forwarder of its own, over a link where one is given."""

    def __init__(self, server: str, name: str, n_entries: int, link: Link | None = None):
        self.forwarder = Forwarder(server, link)
        manifest = Manifest((TensorSpec("weight", (n_entries,)),))
        self._client = Client(self.forwarder.address, manifest, SessionOptions(worker_id=name, pace=False))
        self._over = threading.Event()
        self._client.join()

    def push(self, frames: Sequence[bytes], *, with_end: bool) -> None:
        """Push initial weights as fast as they go. Without an end they never count, so the next push can follow."""
        push = PendingPush(pb.PUSH_KIND_WEIGHTS, round=0, base_version=0, samples=0)
        for frame in frames:
            push.append(frame)
        push.close()
        messages = self._client.messages(push, self._client.reply.session)
        with suppress(grpc.RpcError):
            self._client.start_push(each for each in messages if with_end or not each.HasField("end")).result()

    def push_on(self, frames: Sequence[bytes]) -> None:
        """Push one time after the other until it is closed."""
        while not self._over.is_set():
            self.push(frames, with_end=False)

    def receive_on(self) -> None:
        """Receive snapshot after snapshot until it is closed."""
        while not self._over.is_set():
            calls: list[grpc.Call] = []
            with suppress(GradwireError):
                messages = self._client.watch(None, on_open=calls.append)
                next((message for message in messages if message.WhichOneof("part") == "end"), None)
                calls[0].cancel()

    def passage(self, direction: str) -> Passage:
        """Return what went over its connection in one direction."""
        (connection,) = self.forwarder.connections
        passage: Passage = getattr(connection, direction)
        return passage

    def close(self) -> None:
        """Cut the connection."""
        self._over.set()
        self._client.close()
        self.forwarder.close()


def send_greedily(
    n_workers: int, rate: float, seconds: float, link: Link | None = None, **settings: str
) -> list[Passage]:
    """Let workers push at the same time for a while; return what left each of them.

    Args:
        n_workers: how many.
        rate: bytes per second that each may get, to know how long a push should be.
        seconds: how long.
        link: of each worker.
        settings: of the server.
    """
    n_entries, frames = _weights(rate)
    with _greedy(n_workers, n_entries, link, settings) as workers:
        return _moved(workers, "up", seconds, [(worker.push_on, (frames,)) for worker in workers])


def receive_greedily(n_workers: int, rate: float, seconds: float, **settings: str) -> list[Passage]:
    """Let workers take in snapshot after snapshot for a while; return what reached each of them."""
    n_entries, frames = _weights(rate)
    with _greedy(n_workers, n_entries, None, settings) as workers:
        workers[0].push(frames, with_end=True)
        return _moved(workers, "down", seconds, [(worker.receive_on, ()) for worker in workers])


def _weights(rate: float) -> tuple[int, list[bytes]]:
    """Return the number of entries and the frames of weights that take PUSH_SECONDS at `rate`."""
    n_entries = int(rate * PUSH_SECONDS / 4) + (1 << 17)
    values = np.random.default_rng(0).standard_normal(n_entries).astype(np.float32)
    units = Manifest((TensorSpec("weight", (n_entries,)),)).layout.units
    return n_entries, list(encode_exact(values, units, raw=True))


@contextmanager
def _greedy(n_workers: int, n_entries: int, link: Link | None, settings: dict[str, str]) -> Iterator[list[Greedy]]:
    with ExitStack() as stack:
        server = stack.enter_context(server_process(workers=n_workers, **settings))
        workers = [Greedy(server, f"w{k}", n_entries, link) for k in range(n_workers)]
        for worker in workers:
            stack.callback(worker.close)
        yield workers


def _moved(
    workers: Sequence[Greedy], direction: str, seconds: float, work: Sequence[tuple[Callable[..., None], Any]]
) -> list[Passage]:
    """Let every worker work for `seconds`; return what passed in one direction of its connection until then."""
    for target, arguments in work:
        threading.Thread(target=target, args=arguments, daemon=True).start()
    time.sleep(seconds)
    passages = [worker.passage(direction) for worker in workers]
    return [Passage(passage.times[:n], passage.sizes[:n]) for passage in passages for n in [len(passage.sizes)]]
