"""The rpcs: each reads its request, calls the run, charges the bytes, and answers."""

import asyncio
import logging
from contextlib import aclosing
from typing import Any

from gradwire_common.errors import GradwireError, UnavailableError, UsageError
from gradwire_common.settings.handed import handed
from gradwire_common.transport import bounds
from gradwire_common.transport.channel import CALL_BYTES, wire_bytes
from gradwire_common.transport.packing import INLINE_BYTES
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_common.v1 import parameter_server_pb2_grpc as rpc
from gradwire_server.intake.partial import key_of
from gradwire_server.intake.pushes import expected_units, room_for, staging_for, take
from gradwire_server.intake.receiving import keep, read_first, read_frames, read_join, read_manifest, take_whole
from gradwire_server.limits.streams import Stream
from gradwire_server.outcome.outcome import Kind
from gradwire_server.rounds.member import Member
from gradwire_server.rounds.schedule import Verdict
from gradwire_server.rpc.admin_calls import AdminCalls
from gradwire_server.rpc.answers import answers_errors
from gradwire_server.rpc.callers import Callers
from gradwire_server.rpc.status import heartbeat_ms, join_reply, limits, status_reply, wait
from gradwire_server.run.run import Run
from gradwire_server.versions.broadcast import Update

log = logging.getLogger("gradwire.server")

INTRODUCTIONS = 4  # at once; each holds a compressed manifest of up to 16 MiB

_VERDICTS = {
    Verdict.COUNTED: pb.VERDICT_COUNTED,
    Verdict.DUPLICATE: pb.VERDICT_DUPLICATE,
    Verdict.LATE: pb.VERDICT_LATE,
}


class ParameterServer(AdminCalls, rpc.ParameterServerServicer):
    """Serves one run.

    Args:
        run: the run.
        callers: who may call.
    """

    def __init__(self, run: Run, callers: Callers):
        super().__init__(run, callers)
        self._introducing = asyncio.Semaphore(INTRODUCTIONS)

    @answers_errors
    async def Settings(self, request: pb.SettingsRequest, context: Any) -> pb.SettingsReply:  # noqa: ARG002, N802
        """Tell what the server's settings say of workers."""
        return pb.SettingsReply(settings=handed(self._run.settings))

    @answers_errors
    async def Join(self, request: pb.JoinRequest, context: Any) -> pb.JoinReply:  # noqa: ARG002, N802
        """Make the caller a worker of the run, or ask for its manifest."""
        if (n_bytes := request.manifest.ByteSize()) > INLINE_BYTES:
            raise UsageError(
                f"join: got a manifest of {n_bytes} bytes, want at most {INLINE_BYTES}, or its digest alone"
            )
        self.callers.check_join(request)
        return self._joined(await self._run.join(request), request)

    @answers_errors
    async def Introduce(self, requests: Any, context: Any) -> pb.JoinReply:  # noqa: ARG002, N802
        """Make the caller a worker of the run, with a manifest that comes in pieces."""
        request = await read_join(context)
        self.callers.check_join(request)
        self._run.membership.check_may_join(request)
        async with self._introducing:
            packed = await read_manifest(context)
            member = await self._run.join(request, packed)
        return self._joined(member, request, len(packed))

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

    @answers_errors
    async def Heartbeat(self, request: pb.HeartbeatRequest, context: Any) -> pb.HeartbeatReply:  # noqa: ARG002, N802
        """Note that a worker is alive."""
        run = self._run
        member = self._hear(request.session)
        reply = pb.HeartbeatReply(
            weights_wanted=run.membership.weights_wanted(member),
            version=run.schedule.version or 0,
            limits=limits(run, member),
            heartbeat_ms=heartbeat_ms(run, member),
            wait=wait(run),
        )
        self._charge(member, request, reply, run.schedule.open_round)
        return reply

    @answers_errors
    async def Turn(self, request: pb.TurnRequest, context: Any) -> pb.TurnReply:  # noqa: ARG002, N802
        """Answer once a worker takes part in a round."""
        run = self._run
        member = self._hear(request.session)
        run.membership.barred.check_may_push(member)
        reply = pb.TurnReply(round=await run.called.wait(member.slot, request.version))
        self._charge(member, request, reply, run.schedule.open_round)
        return reply

    @answers_errors
    async def Report(self, request: pb.EvaluationReport, context: Any) -> pb.ReportReply:  # noqa: ARG002, N802
        """Take a worker's evaluation."""
        member = self._hear(request.session)
        self._run.report(member, request)
        reply = pb.ReportReply()
        self._charge(member, request, reply, self._run.schedule.open_round)
        return reply

    @answers_errors
    async def Status(self, request: pb.StatusRequest, context: Any) -> pb.StatusReply:  # noqa: ARG002, N802
        """Describe the run."""
        return status_reply(self._run, request.after_round)

    @answers_errors
    async def Leave(self, request: pb.LeaveRequest, context: Any) -> pb.LeaveReply:  # noqa: ARG002, N802
        """Let a worker go."""
        member = self._hear(request.session)
        reply = pb.LeaveReply()
        self._charge(member, request, reply, self._run.schedule.open_round)
        self._run.leave(member, request.reason, finished=request.finished)
        return reply

    def _joined(self, member: Member | None, request: pb.JoinRequest, n_packed: int = 0) -> pb.JoinReply:
        """Return the answer to a join, with its bytes charged, those of the `n_packed` bytes of its manifest too."""
        if member is None:
            return pb.JoinReply(manifest_wanted=True)
        self.callers.given(member.session)
        reply = join_reply(self._run, member, request)
        self._charge(member, request, reply, round_=0)
        self._run.gates_of(member).up.charge(n_packed)
        self._run.books.records.sent_up(0, n_packed)
        return reply

    def _hear(self, session: str) -> Member:
        """Return the member that speaks. Raises what `Callers.check_session` and `Membership.hear` do."""
        membership = self._run.membership
        if membership.members.of_session(session) is not None:  # else `hear` says what has become of it
            self.callers.check_session(session)
        return membership.hear(session)

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

    def _charge(self, member: Member, request: Any, reply: Any, round_: int) -> None:
        """Charge a small call that has passed already."""
        self._charge_up(member, request, round_)
        self._charge_down(member, reply, round_)

    def _charge_up(self, member: Member, request: Any, round_: int) -> int:
        n_bytes = wire_bytes(request.ByteSize()) + CALL_BYTES
        self._run.gates_of(member).up.charge(n_bytes)
        self._run.books.records.sent_up(round_, n_bytes)
        return n_bytes

    def _charge_down(self, member: Member, reply: Any, round_: int) -> None:
        n_bytes = wire_bytes(reply.ByteSize())
        self._run.gates_of(member).down.charge(n_bytes)
        self._run.books.records.sent_reply(round_, n_bytes)
