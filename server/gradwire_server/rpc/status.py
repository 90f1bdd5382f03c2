"""What Join and Status say of a run."""

import logging
from collections.abc import Iterable
from dataclasses import asdict

from gradwire_common import __version__
from gradwire_common.foreign_text import MAX_REASON, printable
from gradwire_common.step_options import OptimizerChoice, to_messages
from gradwire_common.transport.wire import method_to_message
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.limits.limits import Limits
from gradwire_server.rounds.member import Member
from gradwire_server.rpc.tallies import Treated
from gradwire_server.run.run import Run

log = logging.getLogger("gradwire.server")

MAX_WORKERS_SENT = 2000  # of a kilobyte at most, with their reasons: 2 MB of gRPC's 4


def join_reply(run: Run, member: Member, request: pb.JoinRequest) -> pb.JoinReply:
    """Return all that a worker needs to know to take part."""
    settings, training = run.settings, run.numbers.training
    choice = OptimizerChoice.from_message(request.optimizer) if request.HasField("optimizer") else None
    if overruled := run.membership.agreement.overruled(choice):
        log.warning("worker %s: the server's settings win: %s", member.worker_id, printable(overruled, MAX_REASON))
    return pb.JoinReply(
        session=member.session,
        slot=member.slot,
        slots=settings.workers,
        version=run.schedule.version or 0,
        rounds=settings.rounds,
        weights_wanted=run.membership.first_weights.wanted_of(member),
        heartbeat_ms=heartbeat_ms(run, member),
        method=method_to_message(settings.uplink),
        limits=limits(run, member),
        buffers_every=settings.buffers_every,
        evaluate_every=settings.evaluate_every,
        run=settings.name,
        run_id=run.membership.run_id,
        late_weight=settings.late_weight,
        asynchronous=run.schedule.queues,
        broadcast=method_to_message(settings.downlink),
        optimizer=training.optimizer.as_choice.to_message(),
        groups=to_messages(training.initial_options),
        fixed_rate=training.fixed.rate,
        fixed_options=training.fixed.options,
        overruled=overruled,
        sampled=bool(settings.sampled),
    )


def heartbeat_ms(run: Run, member: Member) -> int:
    """Return the milliseconds between a worker's heartbeats from now on, which the run goes by."""
    return max(1, round(run.membership.members.tell_interval(member) * 1000))


def limits(run: Run, member: Member) -> pb.Limits:
    """Return what the token buckets allow a worker now."""
    allowed = run.limiter.limits_of(member.worker_id)
    return pb.Limits(
        rate_up=allowed.rate_up,
        rate_down=allowed.rate_down,
        burst=allowed.burst if allowed.limited else 0,
        chunk_bytes=run.limiter.tell_chunk(member.worker_id),
        share_up=allowed.share_up(max(len(run.membership.members.alive), run.settings.workers)),
        transfer_seconds=run.settings.transfer_seconds,
        whole_bytes=run.gates_of(member).whole_bytes,
    )


def limit_reply(limits: Limits) -> pb.LimitReply:
    """Return the limits that hold from now on."""
    return pb.LimitReply(limits=pb.LimitChanges(**asdict(limits)))


def status_reply(run: Run, after_round: int) -> pb.StatusReply:
    """Describe the run, with the records of the rounds after `after_round`."""
    return pb.StatusReply(
        run=run.settings.name,
        package_version=__version__,
        phase=run.schedule.phase.value,
        version=run.schedule.version or 0,
        rounds=run.settings.rounds,
        slots=run.settings.workers,
        parameters=run.books.records.n_parameters,
        workers=[_worker(run, member) for member in _shown(run)],
        records=run.books.records.after(after_round),
        evaluations=run.books.records.newest_evaluations,
        bytes_setup=run.books.records.bytes_setup,
        seconds=run.seconds,
        wait=wait(run),
        paused=run.collector.paused,
        removed=[
            pb.Removed(worker_id=worker, reason=reason) for worker, reason in run.membership.barred.removed.items()
        ],
        privacy=privacy(run),
        sampled=run.schedule.settings.sampled,
    )


def privacy(run: Run) -> pb.Privacy | None:
    """Return what noise in the aggregation promises so far; None where there is none."""
    if run.privacy is None:
        return None
    epsilon = run.privacy.epsilon(run.schedule.version or 0)
    return pb.Privacy(epsilon=epsilon, delta=run.privacy.delta, noise_multiplier=run.privacy.multiplier)


def wait(run: Run) -> pb.Wait | None:
    """Return what the run waits for; None where it waits for nobody."""
    now, waits = run.clock(), run.membership.waits
    waits.look(now)
    return pb.Wait(what=waits.what, seconds=waits.seconds(now)) if waits.what else None


def _shown(run: Run) -> Iterable[Member]:
    """Return the members that a reply has room for, by slot; those that are alive before others."""
    members = list(run.membership.members)
    if len(members) <= MAX_WORKERS_SENT:
        return members
    kept = sorted(members, key=lambda member: not member.alive)[:MAX_WORKERS_SENT]
    return sorted(kept, key=lambda member: member.slot)


def _worker(run: Run, member: Member) -> pb.WorkerStatus:
    gates, treated = run.gates_of(member), run.tallies.treated.get(member.worker_id, Treated())
    allowed = run.limiter.limits_of(member.worker_id)
    return pb.WorkerStatus(
        worker_id=member.worker_id,
        slot=member.slot,
        alive=member.alive,
        last_round=member.last_round,
        bytes_up=gates.up.n_bytes,
        bytes_down=gates.down.n_bytes,
        limited_up=gates.up.waited,
        limited_down=gates.down.waited,
        budget=member.budget,
        spent=member.spent,
        tokens_up=gates.up.tokens,
        tokens_down=gates.down.tokens,
        refused=member.refused,
        refused_reason=member.reason,
        quarantined=member.quarantined,
        clipped=treated.clipped,
        clip_scale=treated.scales / max(treated.clipped, 1),
        outlying=treated.outlying,
        missed_rounds=member.attendance.missed,
        left_out=member.attendance.left_out,
        gone="" if member.alive else member.gone,
        rate_up=allowed.rate_up,
        rate_down=allowed.rate_down,
        samples=member.samples,
        pushes=member.pushes,
        loss=member.loss,
    )
