"""What admins do to a run: pause it, have a checkpoint made, remove a worker. Without identities, as here, all may."""

import threading

import grpc
import pytest
from numpy.testing import assert_array_equal

from gradwire.commands import administration
from gradwire.commands.status import show_status
from gradwire_common.errors import RightsError, UsageError
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.store import state_files
from running import running_server
from server.plain_worker import PlainWorker, gradient_of, initial_weights, plain_workers, refused, run_config


def begun(*workers):
    for worker in workers:
        worker.begin(initial_weights())


@pytest.mark.parametrize("mode", ["synchronous", "asynchronous"])
def test_no_round_closes_while_a_run_is_paused_and_none_is_lost(tmp_path, mode, capsys):
    config = run_config(tmp_path, rounds=0, mode=mode, workers=1)
    with running_server(config) as server, plain_workers(server.address, 1) as (a,):
        begun(a)
        a.push(gradient_of(1), 1)
        a.receive()
        administration.pause(server.address, reason="moving \x1b[31m the disk")
        assert a.push(gradient_of(2), 2).verdict == pb.VERDICT_COUNTED
        for _ in range(3):
            assert a.heartbeat().version == 1
        status = a.status()
        assert status.paused == "moving \\x1b[31m the disk"
        assert status.wait.what == f"an admin, who paused the run: {status.paused}"
        show_status(server.address)
        administration.unpause(server.address)
        assert a.receive().version == 2
        assert not a.status().paused
        said = capsys.readouterr().out
        assert "paused at version 1" in said
        assert "continues after version 1" in said
        with running_server(run_config(tmp_path / "plain", rounds=0, mode=mode, workers=1)) as undisturbed:
            b = PlainWorker(undisturbed.address, "a")
            begun(b)
            for round_ in (1, 2):
                b.push(gradient_of(round_), round_)
                b.receive()
            b.channel.close()
        assert_array_equal(a.flat, b.flat)


def test_a_deadline_does_not_pass_while_a_run_is_paused(tmp_path):
    config = run_config(tmp_path, rounds=0, workers=2, deadline="0.2 s", quorum=1)
    with running_server(config) as server, plain_workers(server.address, 2) as (a, b):
        begun(a, b)
        a.stub.Pause(pb.PauseRequest(paused=True))
        a.push(gradient_of(1), 1)
        over = threading.Event()
        assert not over.wait(0.5)  # more than the deadline
        assert a.status().version == 0
        b.push(gradient_of(2), 1)
        a.stub.Pause(pb.PauseRequest(paused=False))
        assert a.receive().version == 1
        assert a.status().records[-1].contributors == 2


def test_a_run_that_is_paused_ends_in_order(tmp_path):
    with running_server(run_config(tmp_path, rounds=0, workers=1)) as server, plain_workers(server.address, 1) as (a,):
        begun(a)
        a.stub.Pause(pb.PauseRequest(paused=True))
        a.push(gradient_of(1), 1)
        server.stop()
        assert a.receive().reason == "the server was stopped"
    assert (tmp_path / "run" / "weights.safetensors").exists()


def test_a_checkpoint_is_made_when_it_is_asked_for(tmp_path, capsys):
    config = run_config(tmp_path, rounds=0, workers=1, checkpoint_every=100)
    with running_server(config) as server, plain_workers(server.address, 1) as (a,):
        begun(a)
        asking = [threading.Thread(target=administration.checkpoint, args=(server.address,)) for _ in range(3)]
        for each in asking:
            each.start()
        round_ = 0
        while any(each.is_alive() for each in asking):
            round_ += 1
            a.push(gradient_of(round_), round_)
            a.receive()
        lines = set(capsys.readouterr().out.splitlines())
        versions = state_files.checkpoint_versions(tmp_path / "run" / "state")
        assert lines == {
            f"the checkpoint of version {version} is on the server's disk" for version in versions if version
        }


def test_a_checkpoint_that_cannot_be_made_is_refused_with_the_reason(tmp_path):
    for changes, prepare, reason in [
        ({"checkpoint_every": 0}, lambda a: a.begin(), "keeps none on the disk"),
        ({}, lambda _: None, "the run is waiting for weights"),
        ({}, lambda a: a.begin().stub.Pause(pb.PauseRequest(paused=True)), "the run is paused"),
    ]:
        with (
            running_server(run_config(tmp_path, rounds=0, workers=1, **changes)) as server,
            plain_workers(server.address, 1) as (a,),
        ):
            prepare(a)
            with pytest.raises(UsageError, match=f"checkpoint: .*{reason}"):
                administration.checkpoint(server.address)


def test_who_waits_for_a_checkpoint_is_told_when_the_run_ends(tmp_path):
    with running_server(run_config(tmp_path, rounds=0, workers=1)) as server, plain_workers(server.address, 1) as (a,):
        begun(a)
        call = a.stub.Checkpoint.future(pb.CheckpointRequest(), timeout=60)
        a.status()
        server.stop()
        with pytest.raises(grpc.RpcError) as caught:
            call.result()
        assert "the run ended: the server was stopped" in caught.value.details() or not call.done()


def test_a_worker_that_was_removed_is_waited_for_no_more_and_may_not_join_until_it_is_admitted(tmp_path, capsys):
    config = run_config(tmp_path, rounds=0)
    with running_server(config) as server, plain_workers(server.address, 2) as (a, b):
        begun(a, b)
        a.push(gradient_of(1), 1)
        administration.remove(server.address, "b", reason="sends noise\nfor days")
        assert a.receive().version == 1
        with refused(RightsError, r"worker b was removed by somebody: sends noise\\nfor days"):
            next(b.stream)
        for call in (b.heartbeat, b.join, lambda: b.push(gradient_of(2), 2)):
            with refused(RightsError, "worker b was removed by somebody: sends noise"):
                call()
        show_status(server.address)
        assert r"b, by somebody: sends noise\nfor days" in capsys.readouterr().out
        with pytest.raises(UsageError, match="want one that was removed or is quarantined: b"):
            administration.admit(server.address, "a")
        administration.admit(server.address, "b")
        b.join()
        assert not b.status().removed
        for unknown in ("c", "", "B", "x" * 64):
            with pytest.raises(UsageError, match="want one that has joined: a, b"):
                administration.remove(server.address, unknown)


def test_a_worker_stays_removed_when_its_server_is_restarted(tmp_path):
    config = run_config(tmp_path, rounds=0, checkpoint_every=1)
    with running_server(config) as server, plain_workers(server.address, 2) as (a, b):
        begun(a, b)
        administration.remove(server.address, "b")
        a.push(gradient_of(1), 1)
        a.receive()
    with running_server(config.replaced(resume=True)) as server, plain_workers(server.address, 2) as (a, b):
        with refused(RightsError, "worker b was removed by somebody: no reason given; want an admin to admit it again"):
            b.join()
        a.join()
