"""What Prometheus reads of a run."""

import socket
from pathlib import Path
from urllib.request import urlopen

import pytest

from gradwire_common.errors import BitstreamError, ConfigError
from gradwire_common.v1 import parameter_server_pb2 as pb
from running import running_server
from server.plain_worker import PlainWorker, gradient_of, refused, run_config


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def test_metrics_tell_bytes_by_worker_and_direction_tokens_waits_and_rounds(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    config = run_config(tmp_path, workers=1, evaluate_every=2, metrics_listen=address, rate_up="1 GB/s")
    with running_server(config) as server:
        worker = PlainWorker(server.address, "a").begin()
        for round_ in (1, 2):
            worker.push(gradient_of(round_), round_)
            worker.receive()
        worker.push(gradient_of(2), 2)
        worker.push(gradient_of(1), 1)
        damaged = iter(worker.gradient_messages(gradient_of(3), 3))
        with refused(BitstreamError, "begins at byte 1"):
            worker.send([next(damaged), pb.PushMessage(chunk=pb.Chunk(offset=1, data=b"x"))])
        metrics = [pb.Metric(name="mse", sum=3, count=4), pb.Metric(name="top-5 accuracy", sum=3, count=4)]
        worker.stub.Report(pb.EvaluationReport(session=worker.session, version=2, metrics=metrics))
        (status,) = worker.status().workers
        with urlopen(f"http://{address}/metrics", timeout=60) as reply:
            lines = dict(line.rsplit(" ", 1) for line in reply.read().decode().splitlines() if line[0] != "#")
        worker.channel.close()
    assert float(lines['gradwire_wire_bytes_total{direction="up",worker="a"}']) == status.bytes_up
    assert float(lines['gradwire_wire_bytes_total{direction="down",worker="a"}']) == status.bytes_down
    assert float(lines['gradwire_ratelimit_wait_seconds_total{direction="up",worker="a"}']) == status.limited_up
    assert 0 < float(lines['gradwire_ratelimit_tokens_bytes{direction="up",worker="a"}']) <= 256 << 10
    assert float(lines["gradwire_version"]) == 2
    assert float(lines["gradwire_round_contributors"]) == 1
    assert float(lines['gradwire_wire_bits_per_entry{direction="up"}']) > 32
    assert float(lines['gradwire_payload_bits_per_entry{direction="down"}']) > 32
    assert float(lines["gradwire_evaluation_version"]) == 2
    assert float(lines['gradwire_evaluation{metric="mse"}']) == 0.75
    assert float(lines['gradwire_evaluation{metric="top-5 accuracy"}']) == 0.75
    assert float(lines['gradwire_evaluation_samples{metric="mse"}']) == 4
    assert float(lines["gradwire_duplicate_pushes_total"]) == 1
    assert float(lines["gradwire_stragglers_dropped_total"]) == 1
    assert float(lines['gradwire_decode_errors_total{reason="BitstreamError"}']) == 1


def test_an_address_that_is_taken_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with (
            pytest.raises(ConfigError, match=f"metrics_listen: cannot listen on {address}"),
            running_server(run_config(tmp_path, metrics_listen=address)),
        ):
            pass
