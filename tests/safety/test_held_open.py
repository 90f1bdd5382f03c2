"""Pushes and streams that are held open keep nobody else from pushing, and take no more memory than is allowed."""

import asyncio
import gc
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gradwire_common.errors import UnavailableError
from gradwire_common.layout.manifest import Manifest, TensorSpec
from gradwire_common.transport.channel import wire_bytes
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.limits.memory import Memory
from gradwire_server.limits.streams import FLOOR_RATE, IDLE_SECONDS, MAX_ENDED, Stream, Streams
from gradwire_server.outcome.outcome import Kind
from gradwire_server.versions.broadcast import Update
from gradwire_server.versions.versions import MAX_SNAPSHOTS
from running import eventually, running_server
from safety.beside import beside_two, expected_weights, follow, gradient_for, make_round
from server.plain_worker import PlainWorker, beating, initial_weights, plain_workers, refused, run_config

LARGE = Manifest((TensorSpec("dense.weight", (256, 1024)),))  # 1 MiB of float32
LARGER = Manifest((TensorSpec("dense.weight", (1024, 1024)),))  # a snapshot is four chunks
CHUNK = 16 << 10
CHARGED = wire_bytes((1 << 20) + 64)  # before the next chunk of a worker without limits is read


class HeldOpen:
    """A push that stops after its header and `n_chunks`, and stays open."""

    def __init__(self, worker: PlainWorker, round_: int, n_chunks: int, **changes: object):
        worker.chunk_bytes = CHUNK
        self._messages = list(worker.gradient_messages(gradient_for(worker, round_), round_, **changes))
        self._n = 1 + n_chunks
        self._go_on = threading.Event()
        self.sent = threading.Event()
        self.call = worker.stub.Push.future(self._few(), timeout=60)

    def _few(self) -> Iterator[pb.PushMessage]:
        yield from self._messages[: self._n]
        self.sent.set()
        self._go_on.wait(60)

    def close(self) -> None:
        self._go_on.set()
        self.call.cancel()


def bytes_up(worker: PlainWorker) -> int:
    """Return the bytes of a worker's that the server has read."""
    return next(each.bytes_up for each in worker.status().workers if each.worker_id == worker.worker_id)


@pytest.mark.parametrize("n_chunks", [0, 1, 10])
def test_a_quorum_has_its_rounds_while_others_hold_every_place_open(tmp_path: Path, n_chunks: int) -> None:
    """Memory holds two pushes. Two workers at the lowest slots begin one each, and say that they live."""
    config = run_config(
        tmp_path, rounds=0, workers=4, quorum=2, deadline="1", memory="4 MiB", heartbeat=1.0, evaluate_every=0
    )
    with (
        running_server(config) as server,
        plain_workers(server.address, 4, manifest=LARGE) as workers,
        ExitStack() as s,
    ):
        for worker in workers:
            worker.begin(initial_weights(worker.layout.size))
            s.enter_context(beating(worker))
        for round_ in (1, 2, 3):
            for holder in workers[:2]:
                follow(holder, round_ - 1)
                held = HeldOpen(holder, round_, n_chunks)
                s.callback(held.close)
                assert held.sent.wait(20) or n_chunks
            make_round(round_, *workers[2:])
        follow(workers[3], 3)
        assert_allclose(workers[3].flat, expected_weights(workers[3], 3), atol=1e-5)


def test_a_newer_push_ends_the_older_and_finds_what_came_of_it(tmp_path: Path) -> None:
    """So it is after a link breaks that the server has not noticed."""
    with beside_two(tmp_path, others=0) as (_, (a, b), _):
        b.push(gradient_for(b, 1), 1)
        a.chunk_bytes = 1000
        messages = list(a.gradient_messages(gradient_for(a, 1), 1))
        go_on = threading.Event()

        def some() -> Iterator[pb.PushMessage]:
            yield from messages[:6]
            go_on.wait(60)

        before = bytes_up(a)
        broken = a.stub.Push.future(some(), timeout=60)
        eventually(lambda: bytes_up(a) > before + 5000 + CHARGED)
        length = a.staged(1).length
        assert length == 5000
        with refused(UnavailableError, "push ended: worker a has begun a newer one"):
            broken.result()
        header = pb.PushMessage(header=messages[0].header)
        header.header.offset = length
        rest = [message for message in messages[1:-1] if message.chunk.offset >= length]
        assert a.send([header, *rest, messages[-1]]).verdict == pb.VERDICT_COUNTED
        go_on.set()
        follow(b, 1)
        assert_allclose(b.flat, expected_weights(b, 1), atol=1e-5)


def test_a_worker_holds_one_push_open_and_not_many(tmp_path: Path) -> None:
    with beside_two(tmp_path, rounds=1) as (_, (a, b), (evil,)), ExitStack() as s:
        evil.begin()
        held = [HeldOpen(evil, 1, 1) for _ in range(8)]
        for each in held:
            s.callback(each.close)
        ended = [each for each in held if eventually(lambda each=each: each.call.done() or each is held[-1])]
        assert len(ended) == len(held)
        assert evil.push(gradient_for(evil, 1), 1).verdict == pb.VERDICT_COUNTED
        make_round(1, a, b)


def test_a_newer_stream_of_updates_ends_the_older(tmp_path: Path) -> None:
    with beside_two(tmp_path, others=0) as (_, (a, b), _):
        older = a.stream
        a.watch(have_version=0)
        with refused(UnavailableError, "stream of updates ended: worker a has begun a newer one"):
            next(older)
        make_round(1, a, b)
        follow(a, 1)


def test_watchers_that_do_not_read_hold_two_snapshots_at_most(tmp_path: Path) -> None:
    """They join between rounds, so that each would be sent another version, and read nothing."""
    rounds = 3
    changes = {"manifest": LARGER, "heartbeat": 0.5}  # those who were sent all are waited for until they are dead
    with beside_two(tmp_path, others=rounds, **changes) as (_, (a, b), lazy), beating(a), beating(b):
        for round_, worker in enumerate(lazy, start=1):
            make_round(round_, a, b)
            follow(a, round_)
            follow(b, round_)
            worker.join()
            for _ in range(3):
                worker.watch()
            assert number_of_snapshots() <= MAX_SNAPSHOTS
        make_round(rounds + 1, a, b)
        follow(a, rounds + 1)
        assert_allclose(a.flat, expected_weights(a, rounds + 1), atol=1e-5)


def number_of_snapshots() -> int:
    alive = [each for each in gc.get_objects() if type(each) is Update and each.kind is Kind.SNAPSHOT]
    return len({each.version for each in alive})


def test_a_worker_that_takes_no_end_of_its_streams_gets_no_more_of_them() -> None:
    """What gRPC still writes of a call that was ended takes memory until its peer reads it, or is gone."""

    class Call:
        def add_done_callback(self, callback: Callable[[object], None]) -> None:
            self.over = lambda: callback(self)

    async def story() -> None:
        watching, calls = Streams("stream of updates"), []
        for _ in range(MAX_ENDED):
            calls.append(Call())
            async with watching.open("a", Stream(), calls[-1]):
                pass
        with pytest.raises(UnavailableError, match=f"stream of updates: worker a has {MAX_ENDED} that are not over"):
            async with watching.open("a", Stream(), Call()):
                pass
        async with watching.open("b", Stream(), Call()):
            pass
        calls[0].over()
        async with watching.open("a", Stream(), Call()):
            pass

    asyncio.run(asyncio.wait_for(story(), 10))


def test_only_the_worker_that_was_asked_makes_the_initial_weights(tmp_path: Path) -> None:
    config = run_config(tmp_path, rounds=1, evaluate_every=0)
    with running_server(config) as server, plain_workers(server.address, 3) as (a, b, evil):
        assert a.join().weights_wanted
        for worker in (b, evil):
            assert not worker.join().weights_wanted
            wrong = np.full(worker.layout.size, 1e9, np.float32)
            assert worker.push_weights(wrong).verdict == pb.VERDICT_LATE
        assert a.push_weights(initial_weights()).verdict == pb.VERDICT_COUNTED
        assert b.push_weights(initial_weights()).verdict == pb.VERDICT_DUPLICATE
        evil.leave()
        for worker in (a, b):
            worker.watch()
        make_round(1, a, b)
        follow(a, 1)
        assert_allclose(a.flat, expected_weights(a, 1), atol=1e-5)


def test_the_next_worker_that_is_asked_makes_them_once_the_first_is_gone(tmp_path: Path) -> None:
    config = run_config(tmp_path, rounds=1, workers=1, evaluate_every=0)
    with running_server(config) as server, plain_workers(server.address, 2) as (a, b):
        a.join()
        b.join()
        a.leave()
        assert b.heartbeat().weights_wanted
        assert b.push_weights(initial_weights()).verdict == pb.VERDICT_COUNTED


def test_what_a_peer_may_take_follows_from_the_bytes_that_it_moves() -> None:
    stream = Stream()
    assert stream.due == math.inf
    stream.wait_for(FLOOR_RATE, 100.0)
    assert stream.due == 100.0 + IDLE_SECONDS + 1.0
    stream.moved(FLOOR_RATE, 105.0)
    assert stream.due == math.inf  # the server makes it wait now
    stream.wait_for(0, 500.0)
    assert stream.due == 500.0 + IDLE_SECONDS + 1.0 - 5.0
    stream.moved(1, 505.0)
    stream.wait_for(0, 505.0)
    assert stream.due == pytest.approx(505.0 + IDLE_SECONDS + 1.0 - 10.0, abs=1e-3)  # a byte now and then gains nothing
    stream.restart()
    stream.wait_for(0, 600.0)
    assert stream.due == 600.0 + IDLE_SECONDS


def test_a_push_that_stands_still_is_ended_where_another_waits_for_its_room_and_only_then() -> None:
    async def story() -> None:
        memory, pushing = Memory(10, 10), Streams("push")
        ended: list[str] = []

        async def push(worker: str, *, stands_still: bool) -> None:
            try:
                stream = Stream()
                async with pushing.open(worker, stream):
                    lease = await memory.admit(0, stream)
                    try:
                        if stands_still:
                            stream.wait_for(0, 0.0)
                            await asyncio.sleep(60)
                    finally:
                        lease.release()
            except UnavailableError:
                ended.append(worker)

        slow = asyncio.create_task(push("slow", stands_still=True))
        await asyncio.sleep(0)
        memory.evict(IDLE_SECONDS + 1)
        await asyncio.sleep(0)
        assert not slow.done()
        waiting = asyncio.create_task(push("next", stands_still=False))
        await asyncio.sleep(0)
        memory.evict(IDLE_SECONDS - 1)
        await asyncio.sleep(0)
        assert not slow.done()
        memory.evict(IDLE_SECONDS + 1)
        await asyncio.gather(slow, waiting)
        assert ended == ["slow"]

    asyncio.run(asyncio.wait_for(story(), 10))


def test_a_push_that_has_arrived_is_ended_by_nothing() -> None:
    async def story() -> None:
        pushing = Streams("push")
        go_on = asyncio.Event()
        order: list[str] = []

        async def older() -> None:
            stream = Stream()
            async with pushing.open("a", stream):
                stream.settle()
                await go_on.wait()
                order.append("older")

        async def newer() -> None:
            async with pushing.open("a", Stream()):
                order.append("newer")

        tasks = [asyncio.create_task(older()), asyncio.create_task(newer())]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not order
        go_on.set()
        await asyncio.gather(*tasks)
        assert order == ["older", "newer"]

    asyncio.run(asyncio.wait_for(story(), 10))


def test_a_push_that_is_larger_than_expected_waits_for_room_in_the_middle() -> None:
    async def story() -> None:
        memory = Memory(30, 10)
        first, second, third = [await memory.admit(slot) for slot in range(3)]
        await first.grow(25)  # the oldest may
        growing = asyncio.create_task(second.grow(12))
        await asyncio.sleep(0)
        assert not growing.done()
        assert memory.waiting == 1
        third.release()
        await asyncio.sleep(0)
        assert not growing.done()
        first.finish(25)
        first.release()
        await growing
        assert memory.used == 12

    asyncio.run(asyncio.wait_for(story(), 10))


def test_asking_again_and_again_what_has_arrived_is_answered_alike(tmp_path: Path) -> None:
    with beside_two(tmp_path, others=0, manifest=LARGE) as (_, (a, b), _):
        before = bytes_up(a)
        held = HeldOpen(a, 1, 40)
        eventually(lambda: bytes_up(a) > before + 40 * CHUNK + CHARGED)
        first = a.staged(1)
        assert first.length == 40 * CHUNK
        assert [a.staged(1) for _ in range(20)] == [first] * 20
        held.close()
        make_round(1, a, b)
