"""An admin's calls, which need no session: limits, pause, checkpoint, and who may take part."""

import logging
from typing import Any

from gradwire_common.errors import RightsError, UsageError
from gradwire_common.foreign_text import MAX_REASON, printable
from gradwire_common.settings.names import MAX_NAME
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.intake.admission import MAX_NAMES, check_has_joined
from gradwire_server.rpc.answers import answers_errors
from gradwire_server.rpc.calls import Calls
from gradwire_server.rpc.status import limit_reply

log = logging.getLogger("gradwire.server")


class AdminCalls(Calls):
    """The calls of admins."""

    @answers_errors
    async def Limit(self, request: pb.LimitRequest, context: Any) -> pb.LimitReply:  # noqa: ARG002, N802
        """Change what the token buckets allow."""
        changes = {field.name: value for field, value in request.changes.ListFields()}
        return limit_reply(self._run.limit(request.worker_id, changes))

    @answers_errors
    async def Pause(self, request: pb.PauseRequest, context: Any) -> pb.PauseReply:  # noqa: ARG002, N802
        """Let no round close, or let them close again."""
        run, who, reason = self._run, self.callers.name, _reason(request)
        if request.paused:
            log.warning("%s pauses the run: %s", who, reason)
            run.collector.pause(reason)
        elif run.collector.paused:
            log.warning("%s lets the run continue", who)
            run.collector.proceed()
        run.membership.waits.pause(run.collector.paused)
        return pb.PauseReply(version=run.schedule.version or 0)

    @answers_errors
    async def Checkpoint(self, request: pb.CheckpointRequest, context: Any) -> pb.CheckpointReply:  # noqa: ARG002, N802
        """Write a checkpoint at the end of the round."""
        log.info("%s asks for a checkpoint", self.callers.name)
        run, collector = self._run, self._run.collector
        version = await collector.checkpoint_requests.saved(run.store, run.schedule, paused=bool(collector.paused))
        return pb.CheckpointReply(version=version)

    @answers_errors
    async def Remove(self, request: pb.RemoveRequest, context: Any) -> pb.RemoveReply:  # noqa: ARG002, N802
        """Remove a worker until it is admitted again."""
        membership, worker_id = self._run.membership, request.worker_id
        check_has_joined(worker_id, membership.members.slot_of)
        reason = f"by {self.callers.name}: {_reason(request)}"
        membership.barred.removed[worker_id] = reason
        log.warning("worker %s is removed %s", worker_id, reason)
        member = membership.members.of(worker_id)
        if member is not None and membership.members.is_current(member):
            self._run.remove(member, RightsError(f"worker {worker_id} was removed {reason}"))
        return pb.RemoveReply()

    @answers_errors
    async def Admit(self, request: pb.AdmitRequest, context: Any) -> pb.AdmitReply:  # noqa: ARG002, N802
        """Let a worker that was removed join again, or one that is quarantined push again."""
        membership, shown = self._run.membership, printable(request.worker_id, MAX_NAME)
        if not membership.barred.admit(request.worker_id):
            names = ", ".join(membership.barred.names[:MAX_NAMES]) or "none is"
            raise UsageError(f"worker: got {shown!r}, want one that was removed or is quarantined: {names}")
        log.warning("%s admits worker %s again", self.callers.name, shown)
        return pb.AdmitReply()


def _reason(request: pb.PauseRequest | pb.RemoveRequest) -> str:
    return printable(request.reason, MAX_REASON) or "no reason given"
