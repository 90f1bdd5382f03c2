"""`gradwire train --overlap` and `--delay 1` from end to end: real processes, real gRPC, real images."""

import json
import tomllib

import pytest

ROUNDS = 60
SGD = ("--lr", 0.1, "--optimizer-options", "{}")  # momentum bears no delay
WAYS = {"plain": (), "overlap": ("--overlap",), "delay": ("--delay", 1)}


@pytest.fixture(scope="module")
def folders(tmp_path_factory, run_anywhere):
    folder = tmp_path_factory.mktemp("overlap")
    for name, flags in WAYS.items():
        ended = run_anywhere(
            "train", "--rounds", ROUNDS, "--evaluate-every", 30, *SGD, "--name", name, *flags, folder=folder
        )
        assert ended.code == 0, ended.err
    return {name: folder / "runs" / name for name in WAYS}


@pytest.mark.parametrize("name", WAYS)
def test_every_round_has_both_pushes_and_the_digits_are_learned(folders, name):
    lines = [json.loads(line) for line in (folders[name] / "metrics.jsonl").read_text().splitlines()]
    rounds = [line for line in lines if line["kind"] == "round"]
    assert [(line["round"], line["contributors"]) for line in rounds] == [(n, 2) for n in range(1, ROUNDS + 1)]
    evaluations = [line for line in lines if line["kind"] == "evaluation"]
    assert [(line["version"], line["metrics"]["accuracy"]["count"]) for line in evaluations] == [(30, 360), (60, 360)]
    assert evaluations[-1]["metrics"]["accuracy"]["mean"] > 0.3


def test_each_way_makes_weights_of_its_own(folders):
    assert len({(folder / "weights.safetensors").read_bytes() for folder in folders.values()}) == len(WAYS)


def test_the_settings_are_kept(folders):
    kept = {name: tomllib.loads((folder / "config.toml").read_text()) for name, folder in folders.items()}
    assert [settings["worker"]["overlap"] for settings in kept.values()] == [False, True, False]
    assert [settings["worker"]["delay"] for settings in kept.values()] == [0, 0, 1]
