"""Records and evaluations: nothing is lost, nothing is counted twice."""

import json
import math
from itertools import permutations
from pathlib import Path

import pytest

from gradwire_common.metrics import MAX_METRICS, Metric
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.rounds.evaluations import Evaluation, Evaluations
from gradwire_server.store.records import Records


@pytest.fixture
def records(tmp_path: Path) -> Records:
    books = Records(tmp_path / "metrics.jsonl")
    books.n_parameters = 1000
    return books


def test_a_record_has_the_bytes_of_its_round_and_their_bits_per_entry(records: Records) -> None:
    records.sent_up(0, 5000)
    for slot in (0, 1):
        records.sent_up(1, 250)
        records.sent_down(1, slot, 500)
    records.sent_up(2, 77)
    records.commit(pb.RoundRecord(round=1, contributors=2))
    records.finish(0)
    assert records.after(0) == []
    records.finish(1)
    (got,) = records.after(0)
    assert (got.bytes_up, got.bytes_down, got.bits_up, got.bits_down) == (500, 1000, 2.0, 4.0)
    assert records.bytes_setup == 5000
    assert records.after(1) == []
    records.close()


def test_bytes_of_a_round_whose_record_is_final_are_counted_in_the_next(records: Records) -> None:
    records.commit(pb.RoundRecord(round=1, contributors=1))
    records.finish(1)
    records.sent_down(1, 7, 30)
    records.sent_up(1, 20)
    records.commit(pb.RoundRecord(round=2, contributors=1))
    records.finish(2)
    assert [(record.bytes_up, record.bytes_down) for record in records.rounds] == [(0, 0), (20, 30)]
    records.close()


def test_each_line_is_json_as_soon_as_it_is_final(records: Records, tmp_path: Path) -> None:
    records.commit(pb.RoundRecord(round=1, contributors=1, loss=math.nan))
    records.finish(1)
    records.evaluated(Evaluation(1, {"accuracy": Metric(5, 10), "mse": Metric(1.5, 3, lower_is_better=True)}))
    first, second = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert (first["kind"], first["round"], first["loss"]) == ("round", 1, None)
    assert first["worker_times"]["compute"] == 0.0
    assert second == {
        "kind": "evaluation",
        "version": 1,
        "metrics": {
            "accuracy": {"mean": 0.5, "sum": 5, "count": 10, "lower_is_better": False},
            "mse": {"mean": 0.5, "sum": 1.5, "count": 3, "lower_is_better": True},
        },
    }
    records.close()


def test_an_evaluation_is_due_every_so_many_versions_and_at_the_last() -> None:
    evaluations = Evaluations(every=4, last=10)
    assert [version for version in range(12) if evaluations.is_due(version)] == [4, 8, 10]
    assert not Evaluations(every=0, last=10).is_due(10)


def test_an_evaluation_merges_what_all_report_whatever_the_order() -> None:
    reports = {
        0: {"accuracy": Metric(9, 10), "mse": Metric(1e16, 10)},
        1: {"accuracy": Metric(15, 30), "mse": Metric(1.0, 30)},
        2: {"mse": Metric(-1e16, 5), "own": Metric(0.25, 1)},
    }
    want = {"mse": Metric(1.0, 45), "accuracy": Metric(24, 40), "own": Metric(0.25, 1)}
    for order in permutations(reports):
        evaluations = Evaluations(every=1, last=0)
        evaluations.expect(1, frozenset(reports))
        for slot in order:
            assert evaluations.take_complete(set(reports)) == []
            evaluations.report(1, slot, reports[slot])
            evaluations.report(1, slot, {"mse": Metric(7, 7)})  # again: changes nothing
        (got,) = evaluations.take_complete(set(reports))
        assert got == Evaluation(1, want)
        assert list(got.metrics) == list(want)  # what most workers have comes first
        assert evaluations.take_complete(set(reports)) == []


def test_workers_with_names_of_their_own_make_no_evaluation_of_more_than_the_bound() -> None:
    evaluations = Evaluations(every=1, last=0)
    evaluations.expect(1, frozenset({0, 1, 2}))
    evaluations.report(1, 0, {f"junk {i}": Metric(0, 1) for i in range(MAX_METRICS)})
    for slot in (1, 2):
        evaluations.report(1, slot, {"mse": Metric(1, 1)})
    (got,) = evaluations.take_complete({0, 1, 2})
    assert len(got.metrics) == MAX_METRICS
    assert got.metrics["mse"].count == 2


@pytest.mark.parametrize("what", ["it died", "the next one is there", "the run ended"])
def test_an_evaluation_does_not_wait_where_no_report_can_come(what: str) -> None:
    evaluations = Evaluations(every=1, last=0)
    for version in (1, 2):
        evaluations.expect(version, frozenset({0, 1}))
    evaluations.report(1, 0, {"accuracy": Metric(5, 10)})
    if what == "the next one is there":
        evaluations.report(2, 0, {"accuracy": Metric(5, 10)})
    alive = {0} if what == "it died" else {0, 1}
    got = evaluations.take_complete(alive, ended=what == "the run ended")
    assert got == [Evaluation(1, {"accuracy": Metric(5, 10)})]
