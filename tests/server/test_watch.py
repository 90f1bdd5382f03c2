"""What watchers are sent, and that all of them hold the same bits."""

import itertools
from pathlib import Path

import grpc
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from safetensors.numpy import load_file

from gradwire_common.errors import JoinError
from gradwire_common.layout.manifest import Manifest, TensorSpec
from gradwire_common.v1 import parameter_server_pb2 as pb
from running import running_server
from server.plain_worker import MANIFEST, PlainWorker, gradient_of, plain_workers, refused, run_config

N = MANIFEST.layout.n_parameters
BOTH = N + MANIFEST.layout.n_buffers
CODED = [("uniform", 0.5), ("uniform", 3.0), ("float8-1-4-3", 2.0), ("float4-1-2-1", 2.0), ("bfloat16", 2.0)]


@pytest.mark.parametrize(("quantizer", "bits"), CODED)
def test_all_hold_the_same_bits_after_many_rounds(tmp_path: Path, quantizer: str, bits: float) -> None:
    """The digest in every update says so, whenever a worker joined; and so do the weights that the run leaves."""
    config = run_config(tmp_path, rounds=30, quantizer=quantizer, bits=bits, buffers_every=1)
    with running_server(config) as server, plain_workers(server.address, 3) as (a, b, late):
        workers = [a.begin(), b.begin()]
        for round_ in range(1, 31):
            if round_ == 12:
                workers.append(late.begin())
                assert late.version == 11
                assert_array_equal(late.flat, a.flat)
            for i, worker in enumerate(workers):
                worker.push(gradient_of(100 * round_ + i, BOTH), round_)
            for worker in workers:
                header = worker.receive()
                assert (header.version, header.kind) == (round_, pb.UPDATE_KIND_CHANGE)
        for worker in workers:
            assert_array_equal(worker.flat, a.flat)
            worker.receive()
            worker.leave()
        server.join()
    saved = load_file(tmp_path / "run" / "weights.safetensors")
    for name in ("dense.weight", "conv.bias", "norm.mean", "fixed"):
        assert_array_equal(saved[name].ravel(), a.flat[MANIFEST.layout.slots[name]])


def test_the_replica_follows_the_weights(tmp_path: Path) -> None:
    """What quantising loses of one change is in a later one: with no more gradients the replica gets there."""
    config = run_config(tmp_path, rounds=20, workers=1, quantizer="uniform", bits=2.0, optimizer_options={})
    with running_server(config) as server, plain_workers(server.address, 1) as (a,):
        a.begin()
        want = a.flat[:N].astype(np.float64) - 0.1 * gradient_of(1)
        errors = []
        for round_ in range(1, 9):
            a.push(gradient_of(1) if round_ == 1 else np.zeros(N, np.float32), round_)
            a.receive()
            errors.append(float(np.abs(a.flat[:N] - want).max()))
        assert errors[0] > 1e-3 > errors[-1]


def test_a_late_joiner_gets_a_snapshot_and_is_waited_for_from_then_on(tmp_path: Path) -> None:
    with running_server(run_config(tmp_path)) as server, plain_workers(server.address, 3) as (a, b, c):
        a.begin()
        b.begin()
        a.push(gradient_of(0), 1)
        b.push(gradient_of(1), 1)
        a.receive()
        c.join()
        c.watch()
        header = c.receive()
        assert (header.kind, header.version) == (pb.UPDATE_KIND_SNAPSHOT, 1)
        assert_array_equal(c.flat, a.flat)
        a.push(gradient_of(2), 2)
        b.push(gradient_of(3), 2)
        assert a.status().version == 1
        c.push(gradient_of(4), 2)
        for worker in (a, c):
            assert worker.receive().version == 2


def test_a_worker_that_opens_the_stream_again_goes_on_where_it_was(tmp_path: Path) -> None:
    with running_server(run_config(tmp_path, workers=1)) as server, plain_workers(server.address, 1) as (a,):
        a.begin()
        a.push(gradient_of(0), 1)
        a.receive()
        a.stream.cancel()
        a.push(gradient_of(1), 2)
        a.watch(have_version=1)
        header = a.receive()
        assert (header.version, header.kind) == (2, pb.UPDATE_KIND_WEIGHTS)
        a.watch()
        assert a.receive().kind == pb.UPDATE_KIND_SNAPSHOT


def test_who_fell_behind_the_kept_updates_gets_a_snapshot(tmp_path: Path) -> None:
    config = run_config(tmp_path, workers=1, memory="64 KiB")  # a quarter of it is less than one update
    with running_server(config) as server, plain_workers(server.address, 2) as (a, slow):
        a.begin()
        slow.begin()
        slow.stream.cancel()
        slow.leave()
        for round_ in (1, 2):
            a.push(gradient_of(round_), round_)
            a.receive()
        slow.join()
        slow.watch(have_version=0)
        header = slow.receive()
        assert (header.version, header.kind) == (2, pb.UPDATE_KIND_SNAPSHOT)
        assert_array_equal(slow.flat, a.flat)


def test_the_stream_of_an_ended_session_ends(tmp_path: Path) -> None:
    with running_server(run_config(tmp_path)) as server, plain_workers(server.address, 2) as (a, b):
        a.begin()
        b.begin()
        again = PlainWorker(server.address, "a").begin()
        for worker in (again, b):
            worker.push(gradient_of(0), 1)
        with refused(JoinError, "session ended: worker a joined again"):
            a.receive()
        again.channel.close()


def test_updates_larger_than_a_chunk_come_in_chunks_below_grpcs_limit(tmp_path: Path) -> None:
    manifest = Manifest((TensorSpec("large", (1200, 1000)),))
    with running_server(run_config(tmp_path, workers=1)) as server:
        a = PlainWorker(server.address, "a", manifest)
        a.begin()
        a.push(gradient_of(0, 1_200_000), 1)
        header = next(a.stream)
        assert header.WhichOneof("part") == "header"
        sizes = [len(m.chunk.data) for m in itertools.takewhile(lambda m: m.WhichOneof("part") == "chunk", a.stream)]
        assert max(sizes) == 1 << 20
        assert sum(sizes) > 3_600_000
        a.channel.close()


def test_a_short_update_comes_as_one_message(tmp_path: Path) -> None:
    with running_server(run_config(tmp_path, workers=1)) as server, plain_workers(server.address, 1) as (a,):
        a.begin()
        a.push(gradient_of(0), 1)
        whole = next(a.stream).whole
        assert (whole.header.version, whole.end.length) == (1, len(whole.data))


def test_the_run_ends_for_every_watcher_with_a_reason(tmp_path: Path) -> None:
    with running_server(run_config(tmp_path, rounds=1)) as server, plain_workers(server.address, 2) as (a, b):
        for worker in (a, b):
            worker.begin()
        for worker in (a, b):
            worker.push(gradient_of(0), 1)
        for worker in (a, b):
            worker.receive()
            end = worker.receive()
            assert (end.version, end.reason) == (1, "all 1 rounds are done")
            with pytest.raises(StopIteration):
                next(worker.stream)
        with pytest.raises(grpc.RpcError, match=r"cannot count: the run ended at version 1 \(all 1 rounds are done\)"):
            a.push(gradient_of(0), 2)
        with pytest.raises(grpc.RpcError, match="cannot join: the run ended at version 1"):
            PlainWorker(server.address, "c").join()
