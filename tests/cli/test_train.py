"""`gradwire train` from end to end: real processes, real gRPC, real images."""

import json
import math
import tomllib

import pytest
from safetensors.numpy import load_file

from gradwire_common.settings.config import Config

ROUNDS = 12
FLAGS = ("--rounds", ROUNDS, "--evaluate-every", 4, "--name", "t", "--seed", 3, "--lr", 0.05)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("train")


@pytest.fixture(scope="module")
def ended(folder, run_anywhere):
    return run_anywhere("train", *FLAGS, "--compare", "--json", "figures.json", folder=folder)


@pytest.fixture(scope="module")
def figures(ended, folder):
    assert ended.code == 0, ended.err
    return json.loads((folder / "figures.json").read_text())


def test_a_run_ends_well_and_shows_both_runs(ended):
    assert ended.code == 0, ended.err
    assert f"2 bits: round {ROUNDS}/{ROUNDS}" in ended.out
    assert f"float32: round {ROUNDS}/{ROUNDS}" in ended.out
    assert "now the float32 baseline of the same seed" in ended.out
    assert "test accuracy, mean of last 5" in ended.out


def test_a_run_leaves_its_settings_metrics_weights_curves_and_logs(ended, folder):
    left = folder / "runs" / "t"
    settings = tomllib.loads((left / "config.toml").read_text())
    assert (settings["run"]["seed"], settings["run"]["rounds"], settings["server"]["lr"]) == (3, ROUNDS, 0.05)
    assert Config.load(left / "config.toml").name == "t"
    lines = [json.loads(line) for line in (left / "metrics.jsonl").read_text().splitlines()]
    assert [line["round"] for line in lines if line["kind"] == "round"] == list(range(1, ROUNDS + 1))
    assert [line["version"] for line in lines if line["kind"] == "evaluation"] == [4, 8, 12]
    assert all(tensor.size for tensor in load_file(left / "weights.safetensors").values())
    assert (left / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert {"server.log", "worker-0.log", "worker-1.log"} <= {place.name for place in left.iterdir()}
    assert (left / "baseline" / "weights.safetensors").exists()


def test_json_has_the_final_table(figures):
    keys = ("bytes_up", "bytes_down", "bits_up", "bits_down", "seconds")
    for key in (*keys, *(f"baseline_{key}" for key in keys)):
        assert math.isfinite(figures[key])
    for metrics in (figures["metrics"], figures["baseline_metrics"]):
        assert 0 < metrics["accuracy"]["last"] <= metrics["accuracy"]["best"] <= 1
        assert metrics["loss"]["best"] <= metrics["loss"]["last"]
    assert 32 < figures["baseline_bits_up"] < 33


def test_two_bits_take_a_fourteenth_of_float32s_bytes_everything_counted(figures):
    assert figures["bytes_up"] < figures["baseline_bytes_up"] / 14
    assert figures["bits_up"] < 2.3


def test_figures_are_those_of_the_metrics(figures, folder):
    lines = [json.loads(line) for line in (folder / "runs" / "t" / "metrics.jsonl").read_text().splitlines()]
    assert figures["bytes_up"] == sum(line["bytes_up"] for line in lines if line["kind"] == "round")
    last = [line for line in lines if line["kind"] == "evaluation"][-1]
    assert {name: each["last"] for name, each in figures["metrics"].items()} == {
        name: each["mean"] for name, each in last["metrics"].items()
    }


def test_the_same_seed_makes_the_same_weights_and_keeps_the_older_run(ended, folder, run_anywhere):
    again = run_anywhere("train", *FLAGS, folder=folder)
    assert again.code == 0, again.err
    assert "an earlier run was in runs/t; it is in runs/t.1 now" in again.out
    first, second = (load_file(folder / "runs" / name / "weights.safetensors") for name in ("t.1", "t"))
    assert first.keys() == second.keys()
    assert all((first[name] == second[name]).all() for name in first)
