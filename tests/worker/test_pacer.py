"""A worker sends no faster than it is told, and follows what it is told."""

import threading
import time
from pathlib import Path

from gradwire_common.transport.channel import wire_bytes
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_worker.compute.flat_model import manifest_of
from gradwire_worker.session.client import Client
from gradwire_worker.session.options import SessionOptions
from gradwire_worker.session.pacer import Pacer
from gradwire_worker.session.pending import PendingPush
from running import running_server
from worker.toys import perceptron, server_config

MESSAGE = pb.PushMessage(chunk=pb.Chunk(data=bytes(1000)))
COST = wire_bytes(MESSAGE.ByteSize())


class FakeTime:
    def __init__(self) -> None:
        self.now = 0

    def clock(self) -> int:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += round(seconds * 1e9)


def seconds_for(pacer: Pacer, fake: FakeTime, n: int) -> float:
    began = fake.now
    assert list(pacer.paced([MESSAGE] * n)) == [MESSAGE] * n
    return (fake.now - began) / 1e9


def test_messages_leave_at_the_rate_after_the_burst_and_follow_changes() -> None:
    fake = FakeTime()
    pacer = Pacer(fake.wait, fake.clock)
    assert seconds_for(pacer, fake, 100) == 0  # not limited
    pacer.set(pb.Limits(rate_up=COST, burst=10 * COST))
    assert abs(seconds_for(pacer, fake, 30) - 20) < 1e-6
    pacer.set(pb.Limits(rate_up=COST, burst=10 * COST))  # told again, the bucket is not filled again
    assert abs(seconds_for(pacer, fake, 10) - 10) < 1e-6
    pacer.set(pb.Limits(rate_up=5 * COST, burst=10 * COST))
    assert abs(seconds_for(pacer, fake, 10) - 2) < 1e-6
    pacer.set(pb.Limits())
    assert seconds_for(pacer, fake, 100) == 0


def test_a_client_paces_its_pushes_unless_told_not_to(tmp_path: Path) -> None:
    waited = {}
    for pace in (True, False):
        config = server_config(tmp_path / str(pace), rate_up="1 MB/s", burst="64 KiB")
        with running_server(config) as server:
            manifest = manifest_of(perceptron())
            client = Client(server.address, manifest, SessionOptions(pace=pace))
            client.join()
            push = PendingPush(pb.PUSH_KIND_WEIGHTS, round=0, base_version=0, samples=0, with_buffers=True)
            push.append(bytes(20_000))
            push.close()
            began = time.monotonic()
            for _ in range(20):
                list(client.messages(push, client.reply.session))
            waited[pace] = time.monotonic() - began
            client.leave("done")
            client.close()
    assert waited[True] > (20 * 20_000 - (64 << 10)) / 1e6 > 5 * waited[False]


def test_a_paced_wait_ends_when_the_worker_leaves() -> None:
    closing = threading.Event()
    pacer = Pacer(closing.wait)
    pacer.set(pb.Limits(rate_up=1, burst=1))
    thread = threading.Thread(target=lambda: list(pacer.paced([MESSAGE])))
    thread.start()
    closing.set()
    thread.join(60)
    assert not thread.is_alive()
