"""Reading a push at the pace of its worker's token bucket."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc

from gradwire_common.errors import BitstreamError, UnavailableError, UsageError
from gradwire_common.transport import bounds
from gradwire_common.transport.channel import wire_bytes
from gradwire_common.transport.chunks import WHOLE_BYTES
from gradwire_common.transport.packing import check_pieces
from gradwire_common.units import format_size
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.intake.partial import Partial
from gradwire_server.limits.pacing import Gate
from gradwire_server.limits.streams import Stream
from gradwire_server.rounds.member import Member
from gradwire_server.run.run import Run

PIECE_SECONDS = 60.0  # until a call's next message, where that can be no longer than 64 KiB: 52 s at 10 kbit/s
MANIFEST_SECONDS = 600.0  # for all of them; few may come at once, so none may hold its place for long
MESSAGE_FIELDS = 64  # bytes of a chunk message beside its data, at the most


async def read_first(context: Any) -> pb.PushMessage:
    """Read the first message of a push: its header, or all of it.

    Raises:
        UsageError: it is neither.
        UnavailableError: it does not come for too long; a worker may open its push before there is anything to send.
    """
    try:
        async with asyncio.timeout(PIECE_SECONDS):
            message: pb.PushMessage = await context.read()
    except TimeoutError:
        raise UnavailableError(f"push: got nothing for {PIECE_SECONDS:g} s, want its header") from None
    part = "nothing" if message is grpc.aio.EOF else message.WhichOneof("part")
    if part not in ("header", "whole"):
        raise UsageError(f"push begins with {part}, want a header")
    return message


async def read_join(context: Any) -> pb.JoinRequest:
    """Read the first message of an introduction. Raises UsageError if it is not the join."""
    message = await _read_soon(context)
    part = "nothing" if message is grpc.aio.EOF else message.WhichOneof("part")
    if part != "join":
        raise UsageError(f"introduction begins with {part}, want a join")
    bounds.check(message)
    request: pb.JoinRequest = message.join
    return request


async def read_manifest(context: Any) -> bytes:
    """Read the rest of an introduction, the compressed manifest.

    Raises:
        ModelMismatchError: it is longer than any may be.
        UsageError: something else comes, or nothing for too long.
    """
    packed = bytearray()
    try:
        async with asyncio.timeout(MANIFEST_SECONDS):
            while (message := await _read_soon(context)) is not grpc.aio.EOF:
                if message.WhichOneof("part") != "manifest":
                    raise UsageError(f"introduction continues with {message.WhichOneof('part')}, want the manifest")
                packed += message.manifest
                check_pieces(len(packed))
    except TimeoutError:
        got = format_size(len(packed))
        raise UsageError(f"introduction: got {got} in {MANIFEST_SECONDS:g} s, want the whole manifest") from None
    return bytes(packed)


async def _read_soon(context: Any) -> Any:
    try:
        return await asyncio.wait_for(context.read(), PIECE_SECONDS)
    except TimeoutError:
        raise UsageError(f"introduction: got nothing for {PIECE_SECONDS:g} s, want the manifest") from None


async def take_whole(run: Run, member: Member, whole: pb.WholePush, partial: Partial) -> pb.PushEnd:
    """Take the frames of a push that is one message into `partial`; return its end.

    The message has been charged. Who was told to send chunks waits here until the bucket has what it owes.

    Raises:
        UsageError: it is longer than any worker is told.
        BitstreamError: it cannot be right.
    """
    if len(whole.data) > WHOLE_BYTES:
        raise UsageError(f"got a push of {len(whole.data)} bytes in one message, want at most {WHOLE_BYTES}")
    await run.gates_of(member).up.take(0)
    partial.staging.chunk_bytes = WHOLE_BYTES
    await partial.staging.make_room(len(whole.data))
    partial.staging.add(0, whole.data)
    end: pb.PushEnd = whole.end
    return end


async def read_frames(
    context: Any, run: Run, member: Member, header: pb.PushHeader, partial: Partial, stream: Stream
) -> pb.PushEnd:
    """Read the chunks of a push into `partial`, none sooner than the bucket allows; return its end.

    While one is read, `stream` knows that the worker is waited for.

    Raises:
        BitstreamError: chunks that cannot be right, or no end.
        JoinError: the session ended meanwhile.
    """
    gates, staging = run.gates_of(member), partial.staging
    while True:
        longest = wire_bytes(gates.chunk_bytes + MESSAGE_FIELDS)
        message, n_bytes = await _read(context, gates.up, longest, stream, run.clock)
        run.books.records.sent_up(header.round, n_bytes)
        run.membership.hear(header.session)
        partial.spent += n_bytes
        match message.WhichOneof("part") if message is not grpc.aio.EOF else None:
            case "chunk":
                await staging.make_room(len(message.chunk.data))
                staging.add(message.chunk.offset, message.chunk.data)
            case "end":
                bounds.check(message)
                end: pb.PushEnd = message.end
                return end
            case part:
                if part is None:  # that is how a call looks that its worker cancelled
                    keep(run, member, partial)
                raise BitstreamError(f"push stops with {part} after {staging.length} bytes, want chunks and an end")


def keep(run: Run, member: Member, partial: Partial) -> None:
    """Keep what has arrived of a push that was cut, for its worker to resume; one that has left never will."""
    newest = run.membership.members.of(member.worker_id)
    if newest is not None and (newest.alive or run.membership.members.is_current(newest)):
        run.partials.keep(member.worker_id, partial)


async def _read(context: Any, gate: Gate, most: int, stream: Stream, clock: Callable[[], float]) -> tuple[Any, int]:
    """Take tokens for the largest message, read one, settle for what it needed."""
    await gate.take(most)
    used = 0
    stream.wait_for(most, clock())
    try:
        message = await context.read()
        used = 0 if message is grpc.aio.EOF else wire_bytes(message.ByteSize())
    finally:
        gate.settle(most, used)
    stream.moved(used, clock())
    return message, used
