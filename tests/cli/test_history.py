import json
import math

import pytest

from cli.recorded import evaluation, history, record
from gradwire.views.history import History
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.store.record_lines import written


def test_replies_that_overlap_give_each_round_and_evaluation_once():
    got = History("2 bits")
    got.add(pb.StatusReply(rounds=9, parameters=7, records=[record(1), record(2)], evaluations=[evaluation(2)]))
    got.add(pb.StatusReply(rounds=9, parameters=7, records=[record(2), record(3)], evaluations=[evaluation(2)]))
    assert [each.round for each in got.rounds] == [1, 2, 3]
    assert [each.version for each in got.evaluations] == [2]
    assert (got.total, got.parameters, got.last_round) == (9, 7, 3)


def test_a_metric_has_its_last_value_the_mean_of_the_last_five_and_the_best_by_its_direction():
    got = History("2 bits")
    got.include([], [evaluation(10 * n, accuracy) for n, accuracy in enumerate([0.0, 0.5, 0.6, 0.7, 0.8, 0.9])])
    accuracy, loss = got.metrics["accuracy"], got.metrics["loss"]
    assert (accuracy.last, accuracy.best, accuracy.best_version) == (0.9, 0.9, 50)
    assert accuracy.mean_of_last == pytest.approx(0.7)
    assert (loss.last, loss.best, loss.best_version) == (0.1, 0.1, 0)


def test_bytes_are_sums_and_bits_are_means_over_rounds():
    got = history(rounds=4)
    assert got.bytes_up == 4 * record(1).bytes_up
    assert got.bits_up == pytest.approx(8 * got.bytes_up / (4 * 2 * got.parameters))
    assert got.seconds == pytest.approx(0.2)


def test_the_time_left_follows_the_pace_of_the_newest_rounds():
    got = history(rounds=100, total=150)
    got.include([record(n, seconds=0.2) for n in range(101, 111)], [])
    assert got.eta == pytest.approx(40 * 0.2)
    assert history(total=0).eta is None


def test_nothing_is_known_before_the_first_round():
    got = History("2 bits")
    assert (got.last_round, got.loss, got.bits_up, got.eta) == (0, None, None, None)
    assert got.metrics == {}


def test_metrics_are_read_back(tmp_path):
    def line(message):
        return json.dumps({**json.loads(written(message)), "of_a_later_version": 1}) + "\n"

    file = tmp_path / "metrics.jsonl"
    file.write_text(line(record(1)) + line(evaluation(1)) + line(record(2)))
    got = History("2 bits")
    got.include([record(1)], [])
    got.read(file)
    assert [each.round for each in got.rounds] == [1, 2]
    assert got.evaluations == [evaluation(1)]


def test_a_loss_that_no_worker_knows_is_no_loss():
    got = History("2 bits")
    got.include([record(1, loss=math.nan)], [])
    assert got.loss is None
