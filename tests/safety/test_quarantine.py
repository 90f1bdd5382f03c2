"""A worker whose pushes are refused again and again holds nobody up, and status says why."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gradwire.commands.status import show_status
from gradwire_common.errors import BitstreamError, RangeError, UsageError
from gradwire_common.v1 import parameter_server_pb2 as pb
from safety.honest import honest_pair, serving, undisturbed
from server.plain_worker import PlainWorker, gradient_of, initial_weights, plain_workers, refused, run_config


def garbage(worker: PlainWorker, round_: int) -> None:
    header = next(iter(worker.gradient_messages(gradient_of(0), round_))).header
    with refused(BitstreamError, "frame"):
        worker.send(worker.messages(header, [b"no frame at all" * 9]))


def huge(worker: PlainWorker, round_: int) -> None:
    with refused(RangeError, "dense.weight: got"):
        worker.push(gradient_of(0) * np.float32(1e25), round_)


def countless(worker: PlainWorker, round_: int) -> None:
    with refused(RangeError, "samples: got"):
        worker.push(gradient_of(0), round_, samples=2**40)


def misplaced(worker: PlainWorker, round_: int) -> None:
    with refused(UsageError, "want one for round"):
        worker.push(gradient_of(0), round_ + 5)


@pytest.mark.parametrize("wrong", [garbage, huge, countless, misplaced])
def test_a_worker_that_is_waited_for_and_pushes_nothing_right_is_waited_for_no_more(tmp_path, wrong, capsys):
    with serving(run_config(tmp_path, rounds=3, most_refused=5)) as server, honest_pair(server.address) as pair:
        pair.begin()
        evil = PlainWorker(server.address, "evil").begin()  # holds the newest version: the round waits for it
        for _ in range(5):
            assert not evil.status().workers[2].quarantined
            wrong(evil, 1)
        pair.play()
        with refused(
            UsageError, "worker evil is quarantined until an admin admits it or the server is started again: 5 of"
        ):
            evil.push(gradient_of(0), 2)
        evil.heartbeat()  # it is heard, and is not waited for again
        pair.play()
        evil.begin()  # nor is it once it has joined again
        evil.heartbeat()
        with refused(UsageError, "quarantined"):
            evil.push(gradient_of(0), 3)
        told = evil.status().workers[2]
        assert (told.worker_id, told.refused, told.quarantined) == ("evil", 5, True)
        show_status(server.address)
        out = capsys.readouterr().out
        assert "evil: the last refused push: " in out
        assert out.count("evil") == 2
        pair.play()
        evil.leave()
        evil.channel.close()
        assert_array_equal(pair.end(server), undisturbed(3))


def test_an_admin_lets_a_worker_push_again(tmp_path):
    config = run_config(tmp_path, rounds=0, workers=1, most_refused=1)
    with serving(config) as server, plain_workers(server.address, 1) as (a,):
        a.begin()
        with refused(UsageError, "worker: got 'a', want one that was removed or is quarantined: none is"):
            a.stub.Admit(pb.AdmitRequest(worker_id="a"), timeout=60)
        garbage(a, 1)
        with refused(UsageError, "worker: got 'b', want one that was removed or is quarantined: a$"):
            a.stub.Admit(pb.AdmitRequest(worker_id="b"), timeout=60)
        a.stub.Admit(pb.AdmitRequest(worker_id="a"), timeout=60)
        assert a.push(gradient_of(0), 1).verdict == pb.VERDICT_COUNTED


def test_refusals_in_a_row_are_counted_and_a_push_that_counts_begins_again(tmp_path):
    config = run_config(tmp_path, rounds=0, workers=1, most_refused=2)
    with serving(config) as server, plain_workers(server.address, 1) as (a,):
        a.begin()
        for round_ in (1, 2, 3):
            garbage(a, round_)
            assert a.push(gradient_of(0), round_).verdict == pb.VERDICT_COUNTED
            a.receive()
        assert (a.status().workers[0].refused, a.status().workers[0].quarantined) == (3, False)
        garbage(a, 4)
        garbage(a, 4)
        assert a.status().workers[0].quarantined


def test_nobody_is_quarantined_where_the_setting_says_so(tmp_path):
    with (
        serving(run_config(tmp_path, workers=1, most_refused=0)) as server,
        plain_workers(server.address, 1) as (a,),
    ):
        a.begin()
        for _ in range(12):
            garbage(a, 1)
        assert a.push(gradient_of(0), 1).verdict == pb.VERDICT_COUNTED


def test_initial_weights_are_wanted_of_another_once_the_first_worker_is_quarantined(tmp_path):
    with serving(run_config(tmp_path, rounds=1, most_refused=5)) as server, honest_pair(server.address) as pair:
        evil = PlainWorker(server.address, "evil")
        assert evil.join().weights_wanted
        for _ in range(5):
            with refused(BitstreamError, "frame"):
                evil.send(evil.messages(evil.weights_header(), [b"none" * 40]))
        assert not evil.heartbeat().weights_wanted
        pair.begin()
        pair.play()
        evil.channel.close()
        assert pair.workers[0].joined.slot == 1  # the first slot is the quarantined worker's
        pair.end(server)


def test_a_restart_lifts_the_quarantine(tmp_path):
    with serving(run_config(tmp_path, rounds=3, most_refused=5)) as server, honest_pair(server.address) as pair:
        pair.begin()
        evil = PlainWorker(server.address, "evil")
        evil.join()
        for _ in range(5):
            garbage(evil, 1)
        evil.channel.close()
        pair.play()
    with serving(run_config(tmp_path, rounds=3, resume=True)) as server, honest_pair(server.address) as pair:
        pair.begin()
        assert pair.version == 1
        evil = PlainWorker(server.address, "evil")
        evil.join()
        assert not any(worker.quarantined for worker in evil.status().workers)
        evil.leave()
        evil.channel.close()
        pair.play(2)
        assert_array_equal(pair.end(server), undisturbed(3))


def test_samples_count_as_the_setting_says_at_the_most(tmp_path):
    config = run_config(tmp_path, rounds=1, most_samples=16)
    with serving(config) as server, plain_workers(server.address, 2) as (a, b):
        for worker in (a, b):
            worker.begin()
        a.push(np.full_like(gradient_of(0), 100), 1, samples=2**32)
        b.push(np.zeros_like(gradient_of(0)), 1, samples=16)
        a.receive()
        n = a.layout.n_parameters
        assert_allclose(a.flat[:n], initial_weights()[:n] - 0.1 * 50, rtol=1e-6)
        assert a.status(0).records == [] or a.status(0).records[0].samples == 32
