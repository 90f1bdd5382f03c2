"""Workers reduced to the protocol, hundreds of them in one process: frames made beforehand, no torch, no replica."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np

from gradwire_common import __version__
from gradwire_common.codec.formats import Float32
from gradwire_common.codec.frames import FRAME_VERSION, encode_frame
from gradwire_common.layout.manifest import Manifest, Unit
from gradwire_common.methods.method import Method
from gradwire_common.methods.update import UpdateEncoder
from gradwire_common.transport import channel
from gradwire_common.transport.chunks import split
from gradwire_common.transport.wire import manifest_to_message
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_common.v1 import parameter_server_pb2_grpc as rpc

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
    """

    def __init__(self, address: str, manifest: Manifest, method: Method, first: int, n: int):
        self.address = address
        self.manifest = manifest
        self.tally = Tally()
        self._names = [f"w{index:05d}" for index in range(first, first + n)]
        self._first = first
        self._frames = pushes(manifest, method, min(n, DIFFERENT))
        self._pushes: list[list[pb.PushMessage]] = []
        self._message = manifest_to_message(manifest)
        self._opening = asyncio.Semaphore(OPENING)

    async def run(self) -> Tally:
        """Let all of them join, take part until the run ends, and leave."""
        await asyncio.gather(*(self._work(name, self._first + i) for i, name in enumerate(self._names)))
        return self.tally

    async def _work(self, name: str, slot: int) -> None:
        options = [*channel.CLIENT_OPTIONS]
        try:
            async with grpc.aio.insecure_channel(self.address, options=options) as connection:
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

    async def _join(self, stub: Any, name: str, slot: int) -> pb.JoinReply:
        request = pb.JoinRequest(
            worker_id=name,
            package_version=__version__,
            protocol_version=channel.PROTOCOL_VERSION,
            frame_version=FRAME_VERSION,
            manifest=self._message,
            slot=slot,
        )
        joined: pb.JoinReply = await stub.Join(request)
        if not self._pushes:
            self._pushes = [list(messages_of(frames, joined.limits.chunk_bytes)) for frames in self._frames]
        if joined.weights_wanted:
            await stub.Push(weights(self.manifest, joined))
        return joined

    async def _take_part(self, stub: Any, joined: pb.JoinReply, slot: int) -> None:
        """Push for every round that begins, until the run ends."""
        async for part in stub.Watch(pb.WatchRequest(session=joined.session)):
            match part.WhichOneof("part"):
                case "header":
                    version = part.header.version
                case "end" | "whole" as kind:
                    if kind == "whole":
                        version = part.whole.header.version
                    if version != joined.rounds:
                        await self._push_and_repeat(stub, joined, version, slot)
                case "run_end":
                    return

    async def _push_and_repeat(self, stub: Any, joined: pb.JoinReply, version: int, slot: int) -> None:
        await self._push(stub, joined, version, slot)
        if slot % REPEATED == REPEATED - 1:
            self.tally.repeated += 1
            await self._push(stub, joined, version, slot)

    async def _push(self, stub: Any, joined: pb.JoinReply, version: int, slot: int) -> None:
        header = pb.PushHeader(
            session=joined.session, kind=pb.PUSH_KIND_GRADIENT, round=version + 1, base_version=version, samples=1
        )
        frames = b"".join(self._frames[slot % len(self._frames)])
        if len(frames) <= joined.limits.whole_bytes:
            end = pb.PushEnd(length=len(frames), loss=0.5)
            messages = [pb.PushMessage(whole=pb.WholePush(header=header, data=frames, end=end))]
        else:
            messages = [pb.PushMessage(header=header), *self._pushes[slot % len(self._pushes)]]
        receipt = await stub.Push(iter(messages))
        self.tally.counted += receipt.verdict == pb.VERDICT_COUNTED
        self.tally.duplicates += receipt.verdict == pb.VERDICT_DUPLICATE
        self.tally.others += receipt.verdict not in (pb.VERDICT_COUNTED, pb.VERDICT_DUPLICATE)

    async def _beat(self, stub: Any, joined: pb.JoinReply) -> None:
        interval = joined.heartbeat_ms / 1000
        while True:
            await asyncio.sleep(interval)
            reply = await stub.Heartbeat(pb.HeartbeatRequest(session=joined.session))
            interval = reply.heartbeat_ms / 1000


def weights(manifest: Manifest, joined: pb.JoinReply) -> Iterator[pb.PushMessage]:
    """Yield the messages of initial weights, normal numbers, made as they are sent."""
    yield pb.PushMessage(header=pb.PushHeader(session=joined.session, kind=pb.PUSH_KIND_WEIGHTS))
    yield from messages_of(_made(manifest.layout.units), joined.limits.chunk_bytes)


def pushes(manifest: Manifest, method: Method, n: int) -> list[list[bytes]]:
    """Return the frames of `n` normal gradients, the same every time."""
    entries = manifest.layout.n_parameters
    encoder = UpdateEncoder(manifest.layout, method)
    rng = np.random.default_rng(5)
    found = []
    for _ in range(n):
        values = rng.standard_normal(entries, np.float32)
        values *= np.float32(1e-3)
        found.append(list(encoder.encode(values)))
    return found


def _made(units: Sequence[Unit]) -> Iterator[bytes]:
    rng = np.random.default_rng(3)
    for unit in units:
        yield encode_frame(rng.standard_normal(len(unit), np.float32) * np.float32(0.02), Float32())


def messages_of(frames: Iterable[bytes], chunk_bytes: int) -> Iterator[pb.PushMessage]:
    """Yield the messages of a push that follow its header."""
    offset = 0
    for data in split(frames, lambda: chunk_bytes):
        yield pb.PushMessage(chunk=pb.Chunk(offset=offset, data=data))
        offset += len(data)
    yield pb.PushMessage(end=pb.PushEnd(length=offset, loss=0.5))


def work(address: str, manifest: Manifest, method: Method, first: int, n: int) -> Tally:
    """Run workers in this process until their run ends; what a process of its own calls."""

    async def run() -> Tally:
        return await Load(address, manifest, method, first, n).run()

    return asyncio.run(run())
