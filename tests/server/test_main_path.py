"""Join, initial weights, push, step, watch, report, leave, end: over a real server with real stubs."""

import json
from pathlib import Path

import numpy as np
import torch
from numpy.testing import assert_array_equal
from safetensors.numpy import load_file

from gradwire_common.v1 import parameter_server_pb2 as pb
from running import running_server
from server.plain_worker import MANIFEST, gradient_of, initial_weights, plain_workers, run_config

N = MANIFEST.layout.n_parameters


def test_two_workers_train_to_the_end(tmp_path: Path) -> None:
    with running_server(run_config(tmp_path)) as server, plain_workers(server.address, 2) as (a, b):
        want = initial_weights()
        for worker in (a, b):
            worker.begin()
            assert_array_equal(worker.flat, want)
        for round_ in (1, 2, 3):
            gradients = gradient_of(round_), gradient_of(10 + round_)
            for worker, gradient, samples in ((a, gradients[0], 3), (b, gradients[1], 5)):
                assert worker.push(gradient, round_, samples).verdict == pb.VERDICT_COUNTED
            total = np.float32(3) * gradients[0]
            total += np.float32(5) * gradients[1]
            torch.from_numpy(want[:N]).add_(torch.from_numpy(total / np.float32(8)), alpha=-0.1)
            for worker in (a, b):
                header = worker.receive()
                assert (header.version, header.kind) == (round_, pb.UPDATE_KIND_WEIGHTS)
                assert_array_equal(worker.flat, want)
        for worker, correct in ((a, 6), (b, 8)):
            assert worker.receive().reason == "all 3 rounds are done"
            metrics = [pb.Metric(name="accuracy", sum=correct, count=10)]
            report = pb.EvaluationReport(session=worker.session, version=3, metrics=metrics)
            worker.stub.Report(report)
        status = a.status()
        assert [record.round for record in status.records] == [1, 2, 3]
        assert list(status.evaluations[0].metrics) == [pb.Metric(name="accuracy", sum=14, count=20)]
        a.leave()
        b.leave()
        server.join()
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["round", "round", "round", "evaluation"]
    assert 24 < lines[0]["bits_up"] < 34  # coded without loss
    assert 24 < lines[0]["bits_down"] < 34
    saved = load_file(tmp_path / "run" / "weights.safetensors")
    assert_array_equal(saved["dense.weight"].ravel(), a.flat[MANIFEST.layout.slots["dense.weight"]])
    assert saved["norm.count"].dtype == np.int64
