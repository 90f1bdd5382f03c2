"""The call that sends versions to workers."""

import asyncio
from contextlib import aclosing
from typing import Any

from gradwire_common.errors import UnavailableError
from gradwire_common.transport.channel import wire_bytes
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.limits.streams import Stream
from gradwire_server.outcome.outcome import Kind
from gradwire_server.rounds.member import Member
from gradwire_server.rpc.answers import answers_errors
from gradwire_server.rpc.calls import Calls
from gradwire_server.versions.broadcast import Update


class WatchCalls(Calls):
    """The stream of updates."""

    @answers_errors
    async def Watch(self, request: pb.WatchRequest, context: Any) -> None:  # noqa: N802
        """Send every version from now on, and at last why there are no more."""
        run = self._run
        member = self._hear(request.session)
        self._charge_up(member, request, run.schedule.open_round)
        have = request.have_version if request.HasField("have_version") else None
        stream = Stream()
        try:
            try:
                async with run.watching.open(member.worker_id, stream, context):
                    await self._follow(member, have, request.held, context, stream)
                return
            except UnavailableError as error:
                why = str(error)
            # all of the update has been let go of by now, the message that is being written excepted
            await stream.written()
            run.membership.check_current(member)
            raise UnavailableError(why)
        except asyncio.CancelledError:
            run.membership.connection_broke(member)
            raise

    async def _follow(self, member: Member, have: int | None, held: bytes, context: Any, stream: Stream) -> None:
        """Send every version after `have`, and the end of the run."""
        run = self._run
        async with aclosing(run.updates(member, have, held)) as updates:
            async for update in updates:
                await self._send(member, update, context, stream)
                if update.complete:
                    run.has(member, update.version)
                del update  # a snapshot is as large as the model: none is kept until the next version
        end = pb.WatchMessage(run_end=run.versions.run_end)
        await self._write(member, end, run.schedule.version or 0, context, stream)

    async def _send(self, member: Member, update: Update, context: Any, stream: Stream) -> None:
        """Send one update, no faster than the worker's bucket allows."""
        version = 0 if update.kind is Kind.SNAPSHOT else update.version
        gates = self._run.gates_of(member)
        stream.restart()
        async for message in update.messages(lambda: gates.chunk_bytes, gates.whole_bytes):
            await self._write(member, message, version, context, stream)

    async def _write(
        self, member: Member, message: pb.WatchMessage, version: int, context: Any, stream: Stream
    ) -> None:
        n_bytes = wire_bytes(message.ByteSize())
        await self._run.gates_of(member).down.take(n_bytes)
        stream.wait_for(n_bytes, self._run.clock())
        await stream.write(context.write(message))
        stream.moved(n_bytes, self._run.clock())
        self._run.books.records.sent_down(version, member.slot, n_bytes)
