"""The calls that take updates of workers."""

import asyncio
import logging
from typing import Any

from gradwire_common.errors import GradwireError, UnavailableError
from gradwire_common.transport import bounds
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.intake.partial import key_of
from gradwire_server.intake.pushes import expected_units, room_for, staging_for, take
from gradwire_server.intake.receiving import keep, read_first, read_frames, take_whole
from gradwire_server.limits.streams import Stream
from gradwire_server.rounds.member import Member
from gradwire_server.rounds.schedule import Verdict
from gradwire_server.rpc.answers import answers_errors
from gradwire_server.rpc.calls import Calls

log = logging.getLogger("gradwire.server")

_VERDICTS = {
    Verdict.COUNTED: pb.VERDICT_COUNTED,
    Verdict.DUPLICATE: pb.VERDICT_DUPLICATE,
    Verdict.LATE: pb.VERDICT_LATE,
}


class PushCalls(Calls):
    """Pushes, and what is here of those that were cut."""

    @answers_errors
    async def Push(self, requests: Any, context: Any) -> pb.Receipt:  # noqa: ARG002, N802
        """Take one update, wholly or not at all."""
        run = self._run
        first = await read_first(context)
        header = first.header if first.HasField("header") else first.whole.header
        member = self._hear(header.session)
        try:
            return await self._push(context, member, first, header)
        except GradwireError as error:
            run.refused(member, error)
            raise

    @answers_errors
    async def Staged(self, request: pb.StagedRequest, context: Any) -> pb.StagedReply:  # noqa: ARG002, N802
        """Say how much of a push that was cut is here."""
        run = self._run
        member = self._hear(request.session)
        async with run.pushing.open(member.worker_id, Stream()):  # a push that seems to be open is that which was cut
            staging = run.partials.staged(member.worker_id, key_of(request))
            reply = pb.StagedReply()
            if staging is not None:
                reply.length, reply.digest = staging.length, await staging.digest()
        self._charge(member, request, reply, run.schedule.open_round)
        return reply

    async def _push(self, context: Any, member: Member, first: pb.PushMessage, header: pb.PushHeader) -> pb.Receipt:
        """Take the update that begins with `first`; answer it."""
        run = self._run
        run.membership.barred.check_may_push(member)
        bounds.check(first)
        await run.until_open(header.round)
        _, verdict = expected_units(run, member, header)
        spent = self._charge_up(member, first, header.round)
        length = 0
        if verdict is Verdict.COUNTED:
            try:
                verdict, length = await self._receive(context, member, first, header, spent)
            except asyncio.CancelledError:
                run.membership.connection_broke(member)
                raise
        run.tallies.verdicts[verdict] += 1
        if verdict is Verdict.LATE:
            run.membership.came_late(member)
            run.collector.pool.came_late(member.slot, member.worker_id)
        receipt = pb.Receipt(verdict=_VERDICTS[verdict], round=header.round, length=length)
        if verdict is Verdict.DUPLICATE:
            log.info("worker %s repeats its push for round %d, which counts already", member.worker_id, header.round)
        if header.round:
            receipt.version = run.schedule.version_to_await(member.worker_id, header.round, verdict)
        if verdict is not Verdict.LATE and header.round:
            receipt.digest = run.schedule.newest[member.worker_id].digest
        self._charge_down(member, receipt, header.round)
        return receipt

    async def _receive(
        self, context: Any, member: Member, first: pb.PushMessage, header: pb.PushHeader, spent: int
    ) -> tuple[Verdict, int]:
        """Take the frames of a push, once there is room for them; return what became of it, and its length."""
        run = self._run
        stream = Stream()
        async with run.pushing.open(member.worker_id, stream):
            await run.collector.pool.turn(member.slot, member.worker_id)
            lease = await room_for(run, member, header, stream)
            try:
                units, verdict = expected_units(run, member, header)  # waiting may have taken a while
                if verdict is not Verdict.COUNTED:
                    return verdict, 0
                partial = run.partials.begin(member.worker_id, header, staging_for(run, member, units))
                partial.spent += spent
                try:
                    await partial.staging.take_room(lease)
                    if first.HasField("whole"):
                        end = await take_whole(run, member, first.whole, partial)
                    else:
                        end = await read_frames(context, run, member, header, partial, stream)
                    stream.settle()
                except (asyncio.CancelledError, UnavailableError):
                    keep(run, member, partial)
                    raise
                data = partial.staging.finish(end.length)
                return await take(run, member, header, data, end, partial.spent, lease), end.length
            finally:
                if lease is not None:
                    lease.release()
