from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gradwire_common.codec.frames import FRAME_VERSION
from gradwire_common.errors import ConfigError, JoinError, ModelMismatchError, SessionError
from gradwire_common.layout.manifest import Manifest, TensorSpec
from gradwire_common.transport.channel import PROTOCOL_VERSION
from gradwire_common.v1 import parameter_server_pb2 as pb
from running import running_server
from server.plain_worker import MANIFEST, PlainWorker, plain_workers, refused, run_config


def test_the_first_worker_is_asked_for_weights_and_told_all_it_needs(tmp_path: Path) -> None:
    config = run_config(tmp_path, rounds=9, workers=3, evaluate_every=4, buffers_every=5, heartbeat=1.5, name="trial")
    with running_server(config) as server, plain_workers(server.address, 2) as (a, b):
        got = a.join()
        assert got.weights_wanted
        assert not b.join().weights_wanted
        assert (got.slot, b.joined.slot, got.slots) == (0, 1, 3)
        assert (got.rounds, got.evaluate_every, got.buffers_every, got.heartbeat_ms) == (9, 4, 5, 1500)
        assert (got.run, got.method.name, got.limits.rate_up, got.limits.chunk_bytes) == (
            "trial",
            "raw",
            0,
            (2 << 20) // 3,  # two MiB for the chunks of all workers
        )


def test_when_the_first_worker_leaves_the_next_is_asked_for_weights(tmp_path: Path) -> None:
    with running_server(run_config(tmp_path)) as server, plain_workers(server.address, 2) as (a, b):
        a.join()
        b.join()
        assert not b.heartbeat().weights_wanted
        a.leave()
        assert b.heartbeat().weights_wanted


def test_before_there_are_weights_an_abandoned_model_may_be_replaced(tmp_path: Path) -> None:
    other = Manifest((TensorSpec("x", (3,)),))
    with running_server(run_config(tmp_path)) as server, plain_workers(server.address, 1) as (a,):
        a.join()
        a.leave()
        b = PlainWorker(server.address, "b", other)
        assert b.join(settings={"task": "another"}).weights_wanted
        assert b.status().parameters == 3
        b.channel.close()


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (
            [replace(spec, shape=(96, 65)) if spec.name == "dense.weight" else spec for spec in MANIFEST.tensors],
            r"got dense.weight \[96, 65\] float32 \(parameter\), want dense.weight \[96, 64\] float32 \(parameter\)",
        ),
        (MANIFEST.tensors[1:], r"missing conv.weight \[8, 3, 3, 3\] float32"),
        ((*MANIFEST.tensors, TensorSpec("more", (2,))), r"unknown more \[2\] float32"),
        (MANIFEST.tensors[::-1], "the same tensors in another order"),
    ],
)
def test_another_model_is_refused_by_the_name_of_the_tensor(
    tmp_path: Path, tensors: list[TensorSpec], message: str
) -> None:
    with running_server(run_config(tmp_path)) as server, plain_workers(server.address, 1) as (a,):
        a.join()
        b = PlainWorker(server.address, "b", Manifest(tuple(tensors)))
        with refused(ModelMismatchError, f"model differs from the run's: .*{message}"):
            b.join()
        b.channel.close()


def test_other_settings_and_versions_are_refused_with_both_values(tmp_path: Path) -> None:
    with running_server(run_config(tmp_path)) as server, plain_workers(server.address, 2) as (a, b):
        a.join()
        with refused(JoinError, "settings differ from the run's: seed: got 1, want 0"):
            b.join(settings={"task": "test", "seed": "1"})
        with refused(JoinError, "model: got resnet20, want nothing"):
            b.join(settings={"task": "test", "seed": "0", "model": "resnet20"})
        b.manifest = Manifest(MANIFEST.tensors[1:])
        with refused(JoinError, "settings differ from the run's: seed"):  # rather than the model that comes of it
            b.join(settings={"task": "test", "seed": "1"})
        b.manifest = MANIFEST
        with refused(JoinError, rf"protocol version: got 99 \(gradwire .*\), want {PROTOCOL_VERSION} \(gradwire"):
            b.join(protocol_version=99)
        with refused(JoinError, rf"frame version: got 99 \(gradwire .*\), want {FRAME_VERSION} \(gradwire"):
            b.join(frame_version=99)
        with refused(JoinError, "slot 0 is held by worker a"):
            b.join(slot=0)
        assert b.join(slot=1).slot == 1


def test_a_manifest_that_cannot_be_right_is_refused(tmp_path: Path) -> None:
    with running_server(run_config(tmp_path)) as server, plain_workers(server.address, 1) as (a,):
        with refused(ModelMismatchError, "got no trainable parameter"):
            a.join(manifest=pb.Manifest())
        strange = pb.TensorSpec(name="x", shape=[2], dtype="complex64", role=pb.ROLE_PARAMETER)
        with refused(ModelMismatchError, "tensor 'x': got dtype 'complex64'"):
            a.join(manifest=pb.Manifest(tensors=[strange], groups=[pb.ParameterGroup()]))
        known = pb.TensorSpec(name="x", shape=[2], dtype="float32", role=pb.ROLE_PARAMETER)
        with refused(ConfigError, "parameter group 0: unknown option 'beta'"):
            a.join(manifest=pb.Manifest(tensors=[known], groups=[pb.ParameterGroup(options={"beta": 1.0})]))
        assert a.join().weights_wanted


def test_an_unknown_session_is_told_to_join_again(tmp_path: Path) -> None:
    with running_server(run_config(tmp_path)) as server, plain_workers(server.address, 1) as (a,):
        a.session = "never given"
        for call in (a.heartbeat, a.leave, lambda: a.push_weights(a.flat), lambda: next(a.watch())):
            with refused(SessionError, "this session is unknown to this server"):
                call()


def test_the_health_service_says_serving(tmp_path: Path) -> None:
    with running_server(run_config(tmp_path)) as server, grpc.insecure_channel(server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", "gradwire.v1.ParameterServer"):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_is_offered_where_it_is_asked_for(tmp_path: Path) -> None:
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    request = reflection_pb2.ServerReflectionRequest(list_services="")
    for wanted in (True, False):
        config = run_config(tmp_path, reflection=wanted)
        with running_server(config) as server, grpc.insecure_channel(server.address) as channel:
            answers = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
                iter([request]), timeout=60
            )
            if wanted:
                names = [service.name for service in next(answers).list_services_response.service]
                assert "gradwire.v1.ParameterServer" in names
            else:
                with pytest.raises(grpc.RpcError, match="UNIMPLEMENTED"):
                    next(answers)
