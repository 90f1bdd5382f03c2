"""Closing a round while other work on the numbers is going on."""

import asyncio
import contextlib
import threading

import numpy as np
import pytest

from gradwire_common.layout.manifest import Manifest, TensorSpec
from gradwire_common.methods.frames import encode_exact
from gradwire_common.settings.config import ServedRun
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.aggregation.push import Push
from gradwire_server.intake.contribution import Contribution
from gradwire_server.outcome.outcome import Version
from gradwire_server.rounds.schedule import Verdict
from gradwire_server.rounds.schedule_settings import ScheduleSettings
from gradwire_server.rounds.synchronous import Rounds
from gradwire_server.versions.collector import Collector
from gradwire_server.versions.events import Committed, Ended, Event, Opened, Published
from gradwire_server.versions.numbers import Numbers
from gradwire_server.versions.versions import Versions
from running import HALT_SECONDS, Halt

MANIFEST = Manifest((TensorSpec("weight", (5,)),))


def contribution(worker: str, entry: float) -> Contribution:
    frames = b"".join(encode_exact(np.full(5, entry, np.float32), MANIFEST.layout.parameters))
    return Contribution(worker, 1, Push(memoryview(frames), 1, False), len(frames), 0.0, pb.StepTimes())


async def until(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, HALT_SECONDS)


def test_a_push_that_comes_between_the_last_sum_and_the_close_is_added_first(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        settings = ServedRun(workers=1, method="raw")
        rounds, closed = Rounds(ScheduleSettings(settings.workers)), asyncio.Event()
        numbers = Numbers(settings)
        versions, collector = Versions(rounds, numbers), Collector(settings, rounds, numbers)
        happened: list[Event] = []

        async def follow() -> None:
            async for event in collector.events():
                happened.append(event)
                if isinstance(event, Committed | Ended):
                    closed.set()

        await collector.define(MANIFEST)
        training = numbers.training
        await collector.load_weights(memoryview(b"".join(encode_exact(np.zeros(5, np.float32), MANIFEST.layout.units))))
        rounds.admit(0)
        adding, copying, add, snapshot = Halt(), Halt(), training.add, training.snapshot

        def add_later(push: Push, slot: int) -> None:
            adding.halt()
            add(push, slot)

        def copy_later(version: int) -> Version:
            copying.halt()
            return snapshot(version)

        monkeypatch.setattr(training, "add", add_later)
        monkeypatch.setattr(training, "snapshot", copy_later)
        following = asyncio.create_task(follow())
        assert collector.pool.count(0, contribution("first", 1.0)) is Verdict.COUNTED
        await until(adding.reached)
        joining = asyncio.create_task(versions.snapshot())
        await asyncio.sleep(0)  # it waits for the numbers, before the round does to close
        adding.go_on.set()
        await until(copying.reached)
        assert rounds.may_close
        assert collector.pool.count(1, contribution("second", 3.0)) is Verdict.COUNTED  # of a worker that just joined
        copying.go_on.set()
        async with asyncio.timeout(HALT_SECONDS):
            await joining
            await closed.wait()
        assert [type(event) for event in happened[:3]] == [Opened, Published, Committed]
        assert [event.record.contributors for event in happened if isinstance(event, Committed)] == [2]
        assert training.weights.values == pytest.approx(-0.1 * 2.0)
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
        await collector.finish()

    asyncio.run(main())
