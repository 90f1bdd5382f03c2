"""Records and evaluations: nothing is lost, nothing is counted twice."""

import json
import math
from pathlib import Path

import pytest

from gradwire_common.errors import UsageError
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
    records.evaluated(Evaluation(version=1, count=10, accuracy=0.5, loss=1.5))
    first, second = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert (first["kind"], first["round"], first["loss"]) == ("round", 1, None)
    assert first["worker_times"]["compute"] == 0.0
    assert second == {"kind": "evaluation", "version": 1, "count": 10, "accuracy": 0.5, "loss": 1.5}
    records.close()


def test_an_evaluation_is_due_every_so_many_versions_and_at_the_last() -> None:
    evaluations = Evaluations(every=4, last=10)
    assert [version for version in range(12) if evaluations.is_due(version)] == [4, 8, 10]
    assert not Evaluations(every=0, last=10).is_due(10)


def test_an_evaluation_adds_up_what_all_report() -> None:
    evaluations = Evaluations(every=1, last=0)
    evaluations.expect(1, frozenset({0, 1}))
    evaluations.report(1, 0, 10, 9, 1.0)
    assert evaluations.take_complete({0, 1}) == []
    evaluations.report(1, 1, 30, 15, 3.0)
    evaluations.report(1, 1, 30, 0, 3.0)
    assert evaluations.take_complete({0, 1}) == [Evaluation(1, 40, 0.6, 0.1)]
    assert evaluations.take_complete({0, 1}) == []


@pytest.mark.parametrize("what", ["it died", "the next one is there", "the run ended"])
def test_an_evaluation_waits_for_nobody_for_ever(what: str) -> None:
    evaluations = Evaluations(every=1, last=0)
    for version in (1, 2):
        evaluations.expect(version, frozenset({0, 1}))
    evaluations.report(1, 0, 10, 5, 10.0)
    if what == "the next one is there":
        evaluations.report(2, 0, 10, 5, 10.0)
    alive = {0} if what == "it died" else {0, 1}
    assert evaluations.take_complete(alive, ended=what == "the run ended") == [Evaluation(1, 10, 0.5, 1.0)]


def test_more_right_than_seen_is_refused() -> None:
    with pytest.raises(UsageError, match="evaluation of version 1: got 3 right of 2"):
        Evaluations(1, 0).report(1, 0, 2, 3, 0.0)
