"""Token buckets really slow what goes over the wire."""

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest

from gradwire_common.errors import ConfigError
from gradwire_common.manifest import Manifest, TensorSpec
from gradwire_server.pacing import Gate, Limits
from running import running_server
from server.plain_worker import PlainWorker, run_config

MODEL = Manifest((TensorSpec("weight", (500, 300)),))  # 600,000 bytes in float32: well over burst and lead
BYTES = 4 * 500 * 300
BURST = 64 << 10
LEAD = 128 << 10


def trained_once(address: str) -> tuple[float, float, float, PlainWorker]:
    """Return the seconds that the weights, the snapshot and one push took."""
    worker = PlainWorker(address, "a", MODEL)
    limits = worker.join().limits
    worker.chunk_bytes = limits.chunk_bytes
    values = np.ones(BYTES // 4, np.float32)
    clock = [time.monotonic()]
    worker.push_weights(values)
    clock.append(time.monotonic())
    worker.watch()
    worker.receive()
    clock.append(time.monotonic())
    worker.push(values, 1)
    clock.append(time.monotonic())
    up, down, again = np.diff(clock)
    return up, down, again, worker


def test_the_uplink_is_slowed_to_its_rate(tmp_path: Path) -> None:
    rate = 1_000_000
    config = run_config(tmp_path, workers=1, rate_up="1 MB/s", burst="64 KiB")
    with running_server(config) as server:
        up, _, again, worker = trained_once(server.address)
        slept = worker.status().workers[0].limited_up
        worker.channel.close()
    least = (BYTES - BURST - LEAD) / rate
    assert up > least
    assert again > least
    assert up + again > (2 * BYTES - BURST) / rate
    assert slept > least


def test_the_downlink_is_paced_to_its_rate(tmp_path: Path) -> None:
    config = run_config(tmp_path, workers=1, rate_down="8 Mbit/s", burst="64 KiB")
    with running_server(config) as server:
        _, down, _, worker = trained_once(server.address)
        slept = worker.status().workers[0].limited_down
        worker.channel.close()
    least = (BYTES - BURST) / 1_000_000
    assert down > least - 0.05
    assert slept > least - 0.05


def test_a_worker_is_told_its_limits_and_chunks_that_fit_them(tmp_path: Path) -> None:
    config = run_config(tmp_path, rate_up="1 Mbit/s", rate_down="20 Mbit/s", burst="64 KiB")
    with running_server(config) as server:
        worker = PlainWorker(server.address, "a", MODEL)
        limits = worker.join().limits
        worker.channel.close()
    assert (limits.rate_up, limits.rate_down, limits.burst) == (125_000, 2_500_000, BURST)
    assert limits.chunk_bytes == 16 << 10


def test_joining_again_does_not_fill_the_bucket(tmp_path: Path) -> None:
    config = run_config(tmp_path, workers=1, rate_up="1 MB/s", burst="64 KiB")
    with running_server(config) as server:
        worker = PlainWorker(server.address, "a", MODEL)
        worker.chunk_bytes = worker.join().limits.chunk_bytes
        began = time.monotonic()
        worker.push_weights(np.ones(BYTES // 4, np.float32))
        worker.join()
        worker.push(np.ones(BYTES // 4, np.float32), 1)
        assert time.monotonic() - began > (2 * BYTES - BURST) / 1_000_000
        worker.channel.close()


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
            gate.refund(16_400 - used)

    asyncio.run(run())
    assert 0.99 * rate < (gate.n_bytes - (256 << 10)) / (fake.now / 1e9) <= rate
