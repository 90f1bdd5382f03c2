"""The calls of a session that carry no frames: joining, being heard of, turns, evaluations, leaving."""

import asyncio
from typing import Any

from gradwire_common.errors import UsageError
from gradwire_common.settings.handed import handed
from gradwire_common.transport.packing import INLINE_BYTES
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.intake.receiving import read_join, read_manifest
from gradwire_server.rounds.member import Member
from gradwire_server.rpc.answers import answers_errors
from gradwire_server.rpc.callers import Callers
from gradwire_server.rpc.calls import Calls
from gradwire_server.rpc.status import heartbeat_ms, join_reply, limits, status_reply, wait
from gradwire_server.run.run import Run

INTRODUCTIONS = 4  # at once; each holds a compressed manifest of up to 16 MiB


class SessionCalls(Calls):
    """A worker's small calls."""

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
    async def Heartbeat(self, request: pb.HeartbeatRequest, context: Any) -> pb.HeartbeatReply:  # noqa: ARG002, N802
        """Note that a worker is alive."""
        run = self._run
        member = self._hear(request.session)
        reply = pb.HeartbeatReply(
            weights_wanted=run.membership.first_weights.wanted_of(member),
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
