"""Workers on the protocol of `session`, hundreds on one event loop: frames made beforehand, no torch, no replica."""

import asyncio
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from gradwire_common.identity.files import CA, CERTIFICATE, KEY
from gradwire_common.layout.manifest import Manifest
from gradwire_common.methods.frames import encode_exact
from gradwire_common.methods.method import EncodeReport, Method
from gradwire_common.transport import channel
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_common.v1 import parameter_server_pb2_grpc as rpc
from gradwire_worker.session import SessionOptions
from gradwire_worker.session.heading import Heading
from gradwire_worker.session.pending import PendingPush
from gradwire_worker.session.requests import Introduction
from gradwire_worker.session.updates import Applied, Ended, Updates

OPENING = 50  # workers that join at a time
DIFFERENT = 16  # pushes that are made beforehand; more workers share them
REPEATED = 50  # one worker in so many repeats each of its pushes, to see that it counts once


@dataclass
class Tally:
    """What workers were told.

    Attributes:
        counted, duplicates, others: receipts by verdict; those of repeated pushes are among the duplicates.
        repeated: pushes that were sent again.
        errors: what failed, a line each.
    """

    counted: int = 0
    duplicates: int = 0
    others: int = 0
    repeated: int = 0
    errors: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Take over what other workers were told."""
        for name in ("counted", "duplicates", "others", "repeated"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.errors += other.errors


class Load:
    """Workers `first` to `first + n - 1` of a run, on one event loop.

    Args:
        address: of the server.
        manifest: of the model.
        method: that pushes are coded with.
        certs: folder of the workers' kits of certificates; None for a server that asks for none.
    """

    def __init__(self, address: str, manifest: Manifest, method: Method, first: int, n: int, certs: Path | None = None):
        self.address = address
        self.certs = certs
        self.manifest = manifest
        self.tally = Tally()
        self._names = [name_of(index) for index in range(first, first + n)]
        self._first = first
        self._frames = pushes(manifest, method, min(n, DIFFERENT))
        self._opening = asyncio.Semaphore(OPENING)

    async def run(self) -> Tally:
        """Let all of them join, take part until the run ends, and leave."""
        await asyncio.gather(*(self._work(name, self._first + i) for i, name in enumerate(self._names)))
        return self.tally

    async def _work(self, name: str, slot: int) -> None:
        try:
            async with self._connect(name) as connection:
                stub: Any = rpc.ParameterServerStub(connection)  # type: ignore[no-untyped-call]
                async with self._opening:
                    joined = await self._join(stub, name, slot)
                beating = asyncio.create_task(self._beat(stub, joined))
                try:
                    await self._take_part(stub, joined, slot)
                    await stub.Leave(pb.LeaveRequest(session=joined.session, reason="done"))
                finally:
                    beating.cancel()
        except grpc.aio.AioRpcError as error:
            self.tally.errors.append(f"{name}: {error.code().name}: {error.details()}")

    def _connect(self, name: str) -> grpc.aio.Channel:
        options = [*channel.CLIENT_OPTIONS]
        if self.certs is None:
            return grpc.aio.insecure_channel(self.address, options=options)
        ca, key, certificate = ((self.certs / name / file).read_bytes() for file in (CA, KEY, CERTIFICATE))
        credentials = grpc.ssl_channel_credentials(ca, key, certificate)
        return grpc.aio.secure_channel(self.address, credentials, options=options)

    async def _join(self, stub: Any, name: str, slot: int) -> pb.JoinReply:
        introduction = Introduction.of(self.manifest, SessionOptions(worker_id=name, slot=slot))
        joined: pb.JoinReply = await stub.Join(introduction.request)
        if joined.manifest_wanted:
            joined = await stub.Introduce(introduction.messages())
        if joined.weights_wanted:
            await stub.Push(messages_of(weights(self.manifest), joined))
        return joined

    async def _take_part(self, stub: Any, joined: pb.JoinReply, slot: int) -> None:
        """Push for every round that begins, until the run ends."""
        updates = Updates(NoReplica(), nullcontext())
        async for message in stub.Watch(pb.WatchRequest(session=joined.session)):
            match updates.take(message):
                case Applied(version) if version != joined.rounds:
                    await self._push_and_repeat(stub, joined, version, slot)
                case Ended():
                    return

    async def _push_and_repeat(self, stub: Any, joined: pb.JoinReply, version: int, slot: int) -> None:
        await self._push(stub, joined, version, slot)
        if slot % REPEATED == REPEATED - 1:
            self.tally.repeated += 1
            await self._push(stub, joined, version, slot)

    async def _push(self, stub: Any, joined: pb.JoinReply, version: int, slot: int) -> None:
        push = PendingPush(pb.PUSH_KIND_GRADIENT, version + 1, version, samples=1)
        for frame in self._frames[slot % len(self._frames)]:
            push.append(frame)
        push.close(loss=0.5)
        receipt = await stub.Push(messages_of(push, joined))
        self.tally.counted += receipt.verdict == pb.VERDICT_COUNTED
        self.tally.duplicates += receipt.verdict == pb.VERDICT_DUPLICATE
        self.tally.others += receipt.verdict not in (pb.VERDICT_COUNTED, pb.VERDICT_DUPLICATE)

    async def _beat(self, stub: Any, joined: pb.JoinReply) -> None:
        interval = joined.heartbeat_ms / 1000
        while True:
            await asyncio.sleep(interval)
            reply = await stub.Heartbeat(pb.HeartbeatRequest(session=joined.session))
            interval = reply.heartbeat_ms / 1000


class NoReplica:
    """What updates are applied to where nobody looks at the weights."""

    def begin(self, heading: Heading) -> None:
        """Ignore it."""

    def add(self, offset: int, data: bytes) -> None:
        """Ignore it."""

    def finish(self, length: int, digest: int) -> None:
        """Ignore it."""


def weights(manifest: Manifest) -> PendingPush:
    """Return a push of initial weights, normal numbers."""
    push = PendingPush(pb.PUSH_KIND_WEIGHTS, round=0, base_version=0, samples=0)
    values = np.random.default_rng(3).standard_normal(manifest.layout.size, np.float32)
    values *= np.float32(0.02)
    for frame in encode_exact(values, manifest.layout.units):
        push.append(frame)
    push.close()
    return push


def pushes(manifest: Manifest, method: Method, n: int) -> list[list[bytes]]:
    """Return the frames of `n` normal gradients, the same every time."""
    entries = manifest.layout.n_parameters
    encoder = method.encoder(manifest.layout)
    rng = np.random.default_rng(5)
    found = []
    for _ in range(n):
        values = rng.standard_normal(entries, np.float32)
        values *= np.float32(1e-3)
        found.append(list(encoder.encode(values, EncodeReport())))
    return found


def messages_of(push: PendingPush, joined: pb.JoinReply) -> Iterator[pb.PushMessage]:
    """Return the messages of a complete push."""
    limits = joined.limits
    return push.messages(joined.session, lambda: limits.chunk_bytes, whole_bytes=limits.whole_bytes)


def name_of(index: int) -> str:
    """Return the id of a worker by its number."""
    return f"w{index:05d}"


def work(address: str, manifest: Manifest, method: Method, first: int, n: int, certs: Path | None = None) -> Tally:
    """Run workers in this process until their run ends; what a process of its own calls."""

    async def run() -> Tally:
        return await Load(address, manifest, method, first, n, certs).run()

    return asyncio.run(run())
