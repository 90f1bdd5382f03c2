"""Without identities too, nobody takes the place of a worker that is alive; its own next process does."""

import os

import pytest

from gradwire_common.errors import UnavailableError
from gradwire_server.rounds.members import Members
from gradwire_worker.checkpoint.claim import kept_claim
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.session import Session, SessionOptions
from running import running_server
from server.plain_worker import MANIFEST, PlainWorker, initial_weights, refused, run_config
from worker.toys import batches, perceptron, server_config, take_step


def join(address, **options):
    settings = {"task": "test", "seed": "0"}  # as PlainWorker has them
    options = SessionOptions(worker_id="a", settings=settings, **options)
    return Session.join(address, MANIFEST, initial_weights, options)


@pytest.mark.parametrize("claim", [b"", b"guessed", bytes(16), b"x" * 64])
def test_nobody_takes_the_id_of_a_worker_that_is_alive(tmp_path, claim):
    with running_server(run_config(tmp_path, workers=1, rounds=0)) as server, join(server.address) as honest:
        thief = PlainWorker(server.address, "a")
        with refused(UnavailableError, "worker a is alive, and another process: its id is free once"):
            thief.join(claim=claim)
        with refused(UnavailableError, "worker a is alive"):
            thief.join(claim=claim, slot=5)
        honest.client.heartbeat()
        assert [(each.worker_id, each.slot) for each in thief.status().workers] == [("a", 0)]
        thief.channel.close()


def test_the_id_of_a_worker_that_is_dead_is_free_for_its_next_process(tmp_path):
    with running_server(run_config(tmp_path, workers=1, rounds=0, heartbeat=0.2)) as server:
        first = PlainWorker(server.address, "a")
        first.join(claim=b"first")
        first.push_weights(initial_weights())
        first.watch()
        first.channel.close()  # as a kill does; the next one waits until the server takes it for dead
        with join(server.address, patience=30.0) as session:
            assert session.client.reply.slot == 0


def test_with_its_state_a_worker_takes_its_place_at_once(tmp_path):
    """As another process would: with the claim that the first has kept."""
    with running_server(server_config(tmp_path, heartbeat=20.0)) as server:
        options = SessionOptions(worker_id="a", patience=0.2, claim=os.urandom(16))
        first = RemoteOptimizer(perceptron(), server.address, state=tmp_path / "state", session=options)
        again = perceptron()
        with RemoteOptimizer(
            again, server.address, state=tmp_path / "state", session=SessionOptions(worker_id="a", patience=0.2)
        ) as second:
            take_step(again, second, batches(1)[0])
            assert second.slot == first.slot
        with pytest.raises(UnavailableError, match="worker b is alive"):  # a state of its own is a claim of its own
            _two_of_one_id(server.address, tmp_path)
        first.leave()


def _two_of_one_id(address, folder):
    options = SessionOptions(worker_id="b", patience=0.2)
    with RemoteOptimizer(perceptron(), address, state=folder / "one", session=options):
        RemoteOptimizer(perceptron(1), address, state=folder / "two", session=options)


def test_a_claim_is_kept_privately_and_a_damaged_one_is_made_again(tmp_path):
    file = tmp_path / "a.worker"
    claim = kept_claim(file)
    assert kept_claim(file) == claim
    assert kept_claim(tmp_path / "b.worker") != claim
    kept = tmp_path / "a.claim"
    assert kept.stat().st_mode & 0o777 == 0o600
    for damaged in (b"", b"short", b"x" * 1000):
        kept.write_bytes(damaged)
        assert len(kept_claim(file)) == 16


def test_claims_hold_for_the_living_alone():
    members = Members(2, 1.0, iter("stuvwxyz").__next__)
    members.join("a", None, 0.0, b"own")
    with pytest.raises(UnavailableError, match=r"3\.0 s more"):
        members.join("a", None, 0.0, b"other")
    members.join("a", None, 0.0, b"own")
    members.expire(100.0)
    members.join("a", None, 100.0, b"next")
    with pytest.raises(UnavailableError):
        members.join("a", None, 100.0, b"own")
    members.leave(members.of("a"))
    members.join("a", None, 100.0, b"")
    members.join("a", None, 100.0, b"any")  # who has no claim has nothing to hold it by
