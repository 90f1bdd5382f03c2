"""From a push's header to its verdict: what it must hold, where it goes, and whether it counts."""

import asyncio
import logging

from gradwire_common.errors import UsageError
from gradwire_common.layout.manifest import Unit
from gradwire_common.methods.frames import CODEC_FRAMES
from gradwire_common.methods.update import largest_update
from gradwire_common.step_options import from_messages
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.aggregation.push import Push
from gradwire_server.intake.admission import check_gradient
from gradwire_server.intake.contribution import Contribution
from gradwire_server.intake.staging import Staging
from gradwire_server.limits.memory import Lease
from gradwire_server.limits.shares import memory_for_partials
from gradwire_server.limits.streams import Stream
from gradwire_server.rounds.member import Member
from gradwire_server.rounds.schedule import Verdict
from gradwire_server.run.run import Run

log = logging.getLogger("gradwire.server")


def expected_units(run: Run, member: Member, header: pb.PushHeader) -> tuple[tuple[Unit, ...], Verdict]:
    """Return the units that a push must hold, and what would become of it now.

    Raises:
        UsageError: it is not what this run wants.
        RunEndedError: the run is over.
    """
    layout = run.layout
    if header.kind == pb.PUSH_KIND_WEIGHTS:
        if header.round != 0:
            raise UsageError(f"push of initial weights: got round {header.round}, want 0")
        return layout.units, _verdict_on_weights(run, member)
    check_gradient(header, run.settings, layout, run.schedule.max_delay)
    return layout.pushed(header.with_buffers), run.schedule.verdict(member.slot, member.worker_id, header.round)


def staging_for(run: Run, member: Member, units: tuple[Unit, ...]) -> Staging:
    """Return where the frames of a push of `units` go."""
    weights = run.schedule.version is None  # then nothing else is held
    layout = run.layout
    run.partials.capacity = largest_update(layout.units) if weights else memory_for_partials(run.settings, layout)
    return Staging(units, run.limiter.longest_chunk(member.worker_id), CODEC_FRAMES if weights else run.settings.uplink)


def _verdict_on_weights(run: Run, member: Member) -> Verdict:
    """Say what becomes of initial weights: those of the one worker that was asked for them count, once."""
    if run.schedule.version is not None:
        return Verdict.DUPLICATE
    return Verdict.COUNTED if run.membership.first_weights.were_asked_of(member) else Verdict.LATE


async def room_for(run: Run, member: Member, header: pb.PushHeader, stream: Stream) -> Lease | None:
    """Wait until there is room for a push that `stream` brings, and return it.

    Initial weights need none: nothing else is there, and one worker at a time is asked for them.
    """
    if header.kind == pb.PUSH_KIND_WEIGHTS:
        return None
    lease = await run.collector.pool.admit(member.slot, stream)
    lease.since = run.clock()
    return lease


async def take(
    run: Run,
    member: Member,
    header: pb.PushHeader,
    data: memoryview,
    end: pb.PushEnd,
    spent: int,
    lease: Lease | None = None,
) -> Verdict:
    """Let a whole push count, where it may; `spent` are the bytes that it took on the wire.

    Raises:
        DataError: it is damaged.
        UsageError: the options with it are such as the optimizer does not take.
        JoinError: its session ended meanwhile.
        UsageError: its worker was quarantined meanwhile.
    """
    collector = run.collector
    if header.kind == pb.PUSH_KIND_WEIGHTS:
        if (verdict := _verdict_on_weights(run, member)) is Verdict.COUNTED:  # another may have been asked meanwhile
            verdict = await collector.load_weights(data)
        if verdict is Verdict.COUNTED:
            log.info("worker %s sent the initial weights", member.worker_id)
        return verdict
    if options := from_messages(end.groups):
        collector.check_options(options)
    digest = await collector.check(data, header.with_buffers)
    push = Push(data, min(header.samples, run.settings.most_samples), header.with_buffers, digest)
    run.membership.hear_push(header.session)
    told = Contribution(
        member.worker_id,
        header.round,
        push,
        len(data),
        end.loss,
        end.times,
        end.budget,
        spent,
        options=options,
    )
    if run.schedule.queues:
        arrival = collector.pool.arrive(member.slot, told, lease.hand_over() if lease is not None else None)
        verdict = await asyncio.shield(asyncio.ensure_future(arrival))
    else:
        verdict = await _keep_and_count(run, member, header, told, lease)
    if verdict is Verdict.COUNTED:
        member.last_round, member.budget, member.spent = header.round, end.budget, spent
        member.samples, member.pushes, member.loss = member.samples + push.samples, member.pushes + 1, end.loss
        member.refused_in_a_row = 0
        run.membership.counted(member)
    return verdict


async def _keep_and_count(
    run: Run, member: Member, header: pb.PushHeader, told: Contribution, lease: Lease | None
) -> Verdict:
    if run.schedule.verdict(member.slot, member.worker_id, header.round) is Verdict.COUNTED:
        await run.collector.pool.keep(member.slot, told)
        run.membership.hear_push(header.session)
    return run.collector.pool.count(member.slot, told, lease)
