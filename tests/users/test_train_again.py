"""Runs are resumed by `gradwire train`."""

import json

SMALL = ("--task", "synthetic", "--parameters", "1000", "--workers", "1", "--checkpoint-every", "2")


def test_train_resumes_a_run_with_its_settings_and_more_rounds(run, tmp_path):
    assert run("train", *SMALL, "--seed", 5, "--rounds", 4, "--name", "r").code == 0
    ended = run("train", "--resume", "--name", "r", "--rounds", 6)
    assert ended.code == 0, ended.err
    rounds = [json.loads(line) for line in (tmp_path / "runs/r/metrics.jsonl").read_text().splitlines()]
    assert [each["round"] for each in rounds if each["kind"] == "round"] == [1, 2, 3, 4, 5, 6]
    assert "seed = 5" in (tmp_path / "runs/r/config.toml").read_text()
    assert [each.name for each in (tmp_path / "runs").iterdir()] == ["r"]  # nothing was set aside
