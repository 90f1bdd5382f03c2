"""Token buckets really slow what goes over the wire."""

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gradwire.links.forwarder import Forwarder
from gradwire.links.profile import Link
from gradwire_common.errors import ConfigError, UsageError
from gradwire_common.layout.manifest import Manifest, TensorSpec
from gradwire_common.methods.frames import encode_exact
from gradwire_common.transport.chunks import MAX_CHUNK
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.limits.limits import LIMITED_CHUNK, MESSAGE_BYTES, Limits
from gradwire_server.limits.pacing import Gate
from running import running_server
from server.plain_worker import PlainWorker, gradient_of, plain_workers, refused, run_config

MODEL = Manifest((TensorSpec("weight", (500, 300)),))  # about 500,000 bytes: well over burst and lead
VALUES = np.random.default_rng(0).standard_normal(500 * 300).astype(np.float32)
BURST = 64 << 10
LEAD = 128 << 10
RATE = 1_000_000


def trained_once(address: str) -> tuple[list[float], int, pb.WorkerStatus]:
    """Return the seconds of the weights' upload, the snapshot and one push; the bytes of each; and the status."""
    worker = PlainWorker(address, "a", MODEL)
    worker.join()
    clock = [time.monotonic()]
    n_bytes = worker.push_weights(VALUES).length
    clock.append(time.monotonic())
    worker.watch()
    worker.receive()
    clock.append(time.monotonic())
    assert worker.push(VALUES, 1).length >= n_bytes > 2 * (BURST + LEAD)
    clock.append(time.monotonic())
    (status,) = worker.status().workers
    worker.channel.close()
    return list(np.diff(clock)), n_bytes, status


def test_the_uplink_is_slowed_to_its_rate(tmp_path: Path) -> None:
    """The worker does not pace itself."""
    config = run_config(tmp_path, workers=1, rate_up="1 MB/s", burst="64 KiB")
    with running_server(config) as server:
        (first, _, second), n_bytes, status = trained_once(server.address)
    assert min(first, second) > (n_bytes - BURST - LEAD) / RATE
    assert first + second > (2 * n_bytes - BURST) / RATE
    assert status.bytes_up > 2 * n_bytes
    assert status.limited_up > 0 == status.limited_down


def test_the_downlink_is_paced_to_its_rate(tmp_path: Path) -> None:
    config = run_config(tmp_path, workers=1, rate_down="8 Mbit/s", burst="64 KiB")
    with running_server(config) as server:
        (_, snapshot, _), n_bytes, status = trained_once(server.address)
    assert snapshot > (n_bytes - BURST - LEAD) / RATE
    assert status.bytes_down > n_bytes
    assert status.limited_down > 0 == status.limited_up


def test_a_worker_is_told_its_limits_and_chunks_that_fit_them(tmp_path: Path) -> None:
    config = run_config(tmp_path, rate_up="1 Mbit/s", rate_down="20 Mbit/s", burst="64 KiB")
    with running_server(config) as server:
        worker = PlainWorker(server.address, "a", MODEL)
        limits = worker.join().limits
        worker.channel.close()
    assert (limits.rate_up, limits.rate_down, limits.burst) == (125_000, 2_500_000, BURST)
    assert limits.chunk_bytes == 16 << 10


def test_who_has_limits_is_told_of_no_whole_pushes_and_slowed_where_it_sends_them_all_the_same(tmp_path: Path) -> None:
    config = run_config(tmp_path, workers=1, rounds=0, rate_up="50 KB/s", rate_down="50 KB/s", burst="40 KiB")
    with running_server(config) as server, plain_workers(server.address, 1) as (a,):
        assert a.begin().joined.limits.whole_bytes == 0
        a.stream.cancel()
        began, sent = time.monotonic(), 0
        for _ in range(3):  # the first counts, the others repeat it
            message = a.whole(a.gradient_messages(gradient_of(0), 1))
            assert message.ByteSize() > 25_000
            a.send([message])
            sent += message.ByteSize()
        (first,) = itertools.islice(a.watch(have_version=0), 1)  # once the round has ended
        assert first.WhichOneof("part") == "header"
        again = list(a.gradient_messages(gradient_of(1), 2))
        a.send([a.whole(again)])
        sent += sum(each.ByteSize() for each in again)
        assert time.monotonic() - began > (sent - (40 << 10)) / 50_000


def test_joining_again_does_not_fill_the_bucket(tmp_path: Path) -> None:
    config = run_config(tmp_path, workers=1, rate_up="1 MB/s", burst="64 KiB")
    with running_server(config) as server:
        worker = PlainWorker(server.address, "a", MODEL)
        worker.join()
        began = time.monotonic()
        n_bytes = worker.push_weights(VALUES).length
        worker.join()
        worker.push(VALUES, 1)
        assert time.monotonic() - began > (2 * n_bytes - BURST) / RATE
        worker.channel.close()


def test_chunks_of_a_limited_link_are_short_enough_for_the_lead() -> None:
    for rate, burst, want in [(125_000, 256 << 10, 16 << 10), (500_000, 256 << 10, 50_000), (10**9, 1 << 20, 64 << 10)]:
        assert Limits(rate_up=rate, burst=burst).chunk_bytes == want
    assert Limits(rate_down=10**9, burst=64 << 10).chunk_bytes < 32 << 10


def test_a_burst_that_holds_no_two_chunks_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"burst: got 16\.00 KiB, want at least"):
        Limits(rate_up=1000, burst=16 << 10)
    assert Limits(burst=1).chunk_bytes == 1 << 20  # no limit, no burst


class FakeTime:
    """A clock that only moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0

    def clock(self) -> int:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += round(seconds * 1e9)


@pytest.mark.parametrize("rate", [125_000, 2_500_000, 12_500_000])
def test_the_long_run_rate_is_met(rate: int) -> None:
    """Between 99 % and 100 % of it, with tokens for the largest chunk taken first and the difference refunded."""
    fake = FakeTime()
    gate = Gate(rate, 256 << 10, fake.clock, fake.sleep)
    rng = np.random.default_rng(0)

    async def run() -> None:
        while fake.now < 20e9:
            used = int(rng.integers(1000, 16_000))
            await gate.take(16_400)
            gate.settle(16_400, used)

    asyncio.run(run())
    assert 0.99 * rate < (gate.n_bytes - (256 << 10)) / (fake.now / 1e9) <= rate


def test_limits_change_while_the_run_goes_on(tmp_path: Path) -> None:
    config = run_config(tmp_path, workers=1, rate_up="100 kB/s", burst="128 KiB")
    with running_server(config) as server:
        worker = PlainWorker(server.address, "a", MODEL)
        worker.join()
        change = pb.LimitRequest(worker_id="a", changes=pb.LimitChanges(rate_up=1 << 30))
        assert worker.stub.Limit(change, timeout=60).limits.rate_up == 1 << 30
        began = time.monotonic()
        n_bytes = worker.push_weights(VALUES).length
        assert time.monotonic() - began < n_bytes / 100_000 / 2
        told = worker.heartbeat().limits
        assert (told.rate_up, told.share_up, told.chunk_bytes) == (1 << 30, 1 << 30, (64 << 10) - MESSAGE_BYTES)
        worker.channel.close()


def test_a_change_of_limits_that_cannot_hold_is_refused(tmp_path: Path) -> None:
    with running_server(run_config(tmp_path, shared_up="1 Mbit/s")) as server:
        worker = PlainWorker(server.address, "a", MODEL)
        with refused(UsageError, "worker: got 'a', want one that has joined: none has yet"):
            worker.stub.Limit(pb.LimitRequest(worker_id="a", changes=pb.LimitChanges(rate_up=1000)), timeout=60)
        worker.join()
        with refused(ConfigError, r"burst_shared: got 1000 B, want at least 33792 bytes"):
            worker.stub.Limit(pb.LimitRequest(changes=pb.LimitChanges(burst_shared=1000)), timeout=60)
        with refused(UsageError, "shared_up: got it for worker a alone"):
            worker.stub.Limit(pb.LimitRequest(worker_id="a", changes=pb.LimitChanges(shared_up=1)), timeout=60)
        with refused(ConfigError, r"window: got 2\.00 MiB, want at most 1\.00 MiB"):
            worker.stub.Limit(pb.LimitRequest(worker_id="a", changes=pb.LimitChanges(window=2 << 20)), timeout=60)
        worker.channel.close()


def test_a_run_that_began_without_limits_is_given_some(tmp_path: Path) -> None:
    """A push that is under way is slowed too; until the worker hears of it, its chunks may be as long as before."""
    with running_server(run_config(tmp_path, workers=1)) as server:
        worker = PlainWorker(server.address, "a", MODEL)
        worker.join()
        assert worker.chunk_bytes == MAX_CHUNK
        worker.chunk_bytes = 128 << 10
        begun, go_on = threading.Event(), threading.Event()
        messages = list(worker.messages(worker.weights_header(), encode_exact(VALUES, worker.layout.units)))

        def halfway() -> Iterator[pb.PushMessage]:
            yield from messages[:2]
            begun.set()
            go_on.wait()
            yield from messages[2:]

        call = worker.stub.Push.future(halfway(), timeout=60)
        begun.wait()
        change = pb.LimitRequest(changes=pb.LimitChanges(rate_up=RATE // 2, burst=BURST))
        worker.stub.Limit(change, timeout=60)
        began = time.monotonic()
        go_on.set()
        rest = sum(message.ByteSize() for message in messages[2:])
        call.result()
        assert time.monotonic() - began > (rest - BURST - LEAD - worker.chunk_bytes) / (RATE // 2)
        told = worker.heartbeat().limits
        assert (told.rate_up, told.burst, told.chunk_bytes) == (RATE // 2, BURST, BURST // 2 - MESSAGE_BYTES)
        worker.channel.close()


def test_a_worker_of_a_long_fat_link_has_a_window_of_its_own(tmp_path: Path) -> None:
    seconds = {}
    with running_server(run_config(tmp_path, rate_up="1 MB/s", burst="2 MiB")) as server:
        for name, window in (("a", 0), ("b", 512 << 10)):
            change = pb.LimitRequest(worker_id=name, changes=pb.LimitChanges(window=window))
            with Forwarder(server.address, Link(delay=0.05)) as link:
                worker = PlainWorker(link.address, name, MODEL)
                worker.join()
                worker.stub.Limit(change, timeout=60)
                worker.join()  # tells it
                assert worker.chunk_bytes == (window or LIMITED_CHUNK)
                began = time.monotonic()
                worker.push_weights(VALUES)
                seconds[name] = time.monotonic() - began
                worker.channel.close()
    assert seconds["b"] < seconds["a"]


def test_who_holds_back_what_was_let_pass_gains_nothing() -> None:
    fake = FakeTime()
    gate = Gate(1005, 100_000, fake.clock, fake.sleep)  # a two-hundredth of the rate is kept back

    async def run() -> float:
        await gate.take(60_000)
        fake.now += 10**12  # the bucket is long full when it comes
        gate.settle(60_000, 60_000)
        before = fake.now
        await gate.take(100_000)
        return (fake.now - before) / 1e9

    assert asyncio.run(run()) == pytest.approx(60, abs=0.1)


def test_a_share_is_what_is_left_when_all_send(tmp_path: Path) -> None:
    config = run_config(tmp_path, workers=4, rate_up="1 MB/s", shared_up="2 MB/s", transfer_seconds=3)
    with running_server(config) as server:
        worker = PlainWorker(server.address, "a", MODEL)
        limits = worker.join().limits
        worker.channel.close()
    assert (limits.rate_up, limits.share_up, limits.transfer_seconds) == (1_000_000, 500_000, 3)
