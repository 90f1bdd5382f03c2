"""How a run resumes from what is on the disk."""

import asyncio
import logging

from gradwire_common.step_options import RATE
from gradwire_server.intake.admission import check_resumed
from gradwire_server.rounds.members import MISSED_HEARTBEATS
from gradwire_server.rounds.schedule import Phase
from gradwire_server.run.run import Run
from gradwire_server.versions.description import (
    check_described,
    choice_of,
    defining,
    manifest_of,
    readable,
    removed_of,
)
from gradwire_server.versions.replay import Replayed

log = logging.getLogger("gradwire.server")

RECONNECT_SECONDS = 4.0  # beside three heartbeats, for workers to notice that a restarted server is back


async def resume(run: Run) -> None:
    """Resume the run that is on the disk, if there is one; its workers are expected back soon.

    Raises:
        CheckpointError: what is there cannot be read.
        OSError: its files cannot be written.
        ConfigError: it was made with other settings; names them.
    """
    store = run.store
    checkpoint = await asyncio.to_thread(store.recover, check_described) if store is not None else None
    if store is None or checkpoint is None:
        log.info("there is nothing to resume: the run begins")
        return
    meta = checkpoint.meta
    now = defining(run.settings)
    before = {name: value for name, value in meta["settings"].items() if name != RATE or name in now}
    check_resumed(before, now)  # earlier builds had the rate among what must be the same
    model = await asyncio.to_thread(manifest_of, meta)
    with readable(f"{store.folder}: cannot resume from the checkpoint of version {checkpoint.version}"):
        await run.define(model.manifest, choice_of(meta))
        past = await run.collector.resume(checkpoint)
    run.membership.agreement.settle(model, dict(meta["shared"]), choice_of(meta))
    run.membership.run_id = meta["run_id"]
    run.membership.barred.removed = removed_of(meta)
    _restore(run, checkpoint.version, past)


def _restore(run: Run, from_version: int, past: Replayed) -> None:
    expected, members = past.expected, run.membership.members
    patience = MISSED_HEARTBEATS * members.interval + RECONNECT_SECONDS
    members.restore(past.slots, expected, run.clock() + patience)
    run.schedule.resume(past.version, expected, set(past.slots.values()), past.newest, past.open.keys())
    run.books.records.resume(past.version, past.records)
    run.begin(from_version)
    run.versions.restore(past.updates)
    for slot, contribution in past.open.items():
        run.collector.pool.count(slot, contribution)
    run.books.evaluations.expect(past.version, frozenset(run.schedule.called))
    log.info("resumed version %d: checkpoint of version %d and the journal", past.version, from_version)
    if run.schedule.phase is Phase.ENDED:
        log.info(
            "run %r is finished: all of its %d rounds are done; another --name begins another run, and --no-resume one "
            "in its place, which sets this one aside",
            *(run.settings.name, past.version),
        )
        run.was_over = True
        run.end(f"all {past.version} rounds are done")
