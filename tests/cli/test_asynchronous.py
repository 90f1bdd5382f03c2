"""`gradwire train --mode asynchronous` from end to end: real processes, real gRPC, real images."""

import json

ROUNDS = 240


def test_two_workers_that_never_wait_for_each_other_learn_the_digits(tmp_path, run_anywhere):
    flags = ("--mode", "asynchronous", "--rounds", ROUNDS, "--evaluate-every", 50, "--lr", 0.03, "--name", "t")
    ended = run_anywhere("train", *flags, "--json", "figures.json", folder=tmp_path)
    assert ended.code == 0, ended.err
    lines = [json.loads(line) for line in (tmp_path / "runs" / "t" / "metrics.jsonl").read_text().splitlines()]
    rounds = [line for line in lines if line["kind"] == "round"]
    assert [line["round"] for line in rounds] == list(range(1, ROUNDS + 1))
    assert {line["contributors"] for line in rounds} == {1}
    last = [line for line in lines if line["kind"] == "evaluation"][-1]
    assert last["version"] == ROUNDS
    assert last["metrics"]["loss"]["count"] == 360  # both workers have measured the last version
    accuracy = last["metrics"]["accuracy"]["mean"]
    assert accuracy > 0.7
    assert json.loads((tmp_path / "figures.json").read_text())["metrics"]["accuracy"]["last"] == accuracy
