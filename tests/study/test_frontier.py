"""`gradwire study frontier`: it trains as real runs do, is resumed, and says what is wrong with a study."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from gradwire_common.errors import ConfigError
from gradwire_common.settings.config import Config
from gradwire_study.frontier.arm import Arm
from gradwire_study.frontier.groups import grouped
from gradwire_study.frontier.rows import Row, Rows
from gradwire_study.frontier.simulation import simulate
from gradwire_study.frontier.study import load_study
from gradwire_study.frontier.table import tables
from gradwire_worker.runner import run_worker
from running import running_server

STUDY = """
[grid]
network = "digits"
workers = 2
local_steps = 2
exchanges = 3

[[arms]]
name = "one bit"
options = { bits = 1 }
bits_down = 1
recipe = true
"""
TINY: dict[str, Any] = {"name": "tiny", "network": "digits", "workers": 1, "local_steps": 2, "exchanges": 3}


@pytest.fixture
def _deterministic():
    """Put back what a worker process settles for good."""
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("_deterministic")
@pytest.mark.parametrize(
    ("arm", "settings"),
    [
        (
            {"options": {"bits": 0.5, "gamma": 0.9}, "bits_down": 1},
            {"bits": 0.5, "gamma": 0.9, "bits_down": 1},
        ),
        (
            {"method": "muloco", "aggregation": "radial_mean", "outer": {"lr": 0.7, "options": {"momentum": 0.9}}},
            {"method": "muloco", "aggregation": "radial_mean", "lr": 0.7, "optimizer_options": {"momentum": 0.9}},
        ),
        (
            {"push": "gradients", "local_steps": 1, "options": {"bits": 2}, "outer": {"lr": 0.1}},
            {"local_steps": 0, "bits": 2, "lr": 0.1},
        ),
    ],
)
def test_an_arm_ends_where_a_real_run_over_grpc_ends(tmp_path: Path, arm: Any, settings: Any) -> None:
    common: dict[str, Any] = {
        "runs": tmp_path,
        "workers": 1,
        "rounds": 3,
        "evaluate_every": 3,
        "batch_size": 16,
        "threads": 1,
        "local_steps": 2,
        "local_optimizer": "SGD",
        "local_lr": 0.05,
        "local_optimizer_options": {},
        "lr": 1.0,
        "optimizer_options": {},
        **settings,
    }
    with running_server(Config.load(None, {**common, "listen": "127.0.0.1:0"})) as server:
        run_worker(Config.load(None, {**common, "server": server.address, "device": "cpu"}))
        server.join()
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    expected = [line for line in lines if line["kind"] == "evaluation"][-1]["metrics"]
    got = simulate(Arm.of({**TINY, **arm}))
    assert got.metrics == {name: pytest.approx(told["mean"], abs=2e-6) for name, told in expected.items()}


def test_float32_takes_32_bits_and_is_its_own_reference(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "rows.json")
    rows.add(simulate(Arm.of(TINY).reference()))
    (row,) = Rows(tmp_path / "rows.json")
    assert row.bits_up == pytest.approx(32, rel=0.01)
    assert row.loss == row.reference_loss


def test_a_training_that_diverges_is_an_outcome_without_a_loss() -> None:
    row = simulate(Arm.of({**TINY, "method": "raw", "local": {"lr": 1e30}}))
    assert row.loss is None
    assert row.failure
    assert "1 failed" in tables([row])


def test_stateless_workers_send_what_those_do_that_have_just_come() -> None:
    arm = {**TINY, "options": {"bits": 0.2}, "exchanges": 1}
    kept, stateless = (simulate(Arm.of({**arm, "stateless": value})) for value in (False, True))
    assert kept.loss == stateless.loss
    two = [simulate(Arm.of({**arm, "exchanges": 2, "stateless": value})).loss for value in (False, True)]
    assert two[0] != two[1]


def test_a_study_is_resumed_and_leaves_rows_tables_and_a_picture(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY)

    def run(*more: str) -> str:
        command = [sys.executable, "-m", "gradwire", "study", "frontier", "study.toml", "--out", "out", *more]
        env = {name: value for name, value in os.environ.items() if not name.startswith("GRADWIRE_")}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "2 arms, 2 of them without a row" in run("--cores", "2")
    written = (tmp_path / "out" / "frontier.json").read_text()
    rows = json.loads(written)["rows"]
    assert {(row["method"], row["seed"]) for row in rows} == {("raw", 0), ("entropy", 0)}
    assert all(row["reference_loss"] is not None for row in rows)
    assert {row["method"] for row in rows if row["recipe"]} == {"entropy"}
    assert "2 arms, 0 of them without a row" in run()
    assert (tmp_path / "out" / "frontier.json").read_text() == written
    assert "**one bit** | 1 |" in (tmp_path / "out" / "frontier_table.md").read_text()
    assert (tmp_path / "out" / "frontier.png").stat().st_size > 10_000


def test_differences_are_paired_by_seed() -> None:
    def row(seed: int, loss: float, reference: float) -> Row:
        arm = Arm.of({**TINY, "seed": seed})
        values = {"parameters": 10, "bits_up": 1.0, "bits_down": 1.0, "seconds": 1.0}
        return Row(arm=arm, loss=loss, reference_loss=reference, **values)

    ((group,),) = grouped([row(0, 2.0, 1.0), row(1, 4.0, 3.0), row(2, 3.0, 2.0)]).values()
    assert group.difference == (1.0, 0.0)
    ((alone,),) = grouped([row(0, 2.0, 1.0)]).values()
    assert alone.difference is not None
    assert math.isnan(alone.difference[1])


@pytest.mark.parametrize("study", ["short", "screening", "full"])
def test_the_studies_of_the_package_can_be_run(study: str) -> None:
    arms = load_study(study)
    assert len({arm.key for arm in arms}) == len(arms)
    assert all(arm.reference().key in {each.key for each in arms} for arm in arms)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[arms]]\nname = 'a'\nnetwork = 'lenet'", "arm 'a': network: got 'lenet', want one of text-0.4m"),
        ("[[arms]]\nname = 'a'\nnetwork = 'digits'\nmethod = 'zip'", "arm 'a': method: got 'zip'"),
        ("[[arms]]\nname = 'a'\nnetwork = 'digits'\noptions = { bit = 1 }", "arm 'a': bit: unknown option"),
        ("[[arms]]\nname = 'a'\nnetwork = 'digits'\nworkers = [2, 0]", "arm 'a': workers"),
        ("[[arms]]\nname = 'a'\nnetwork = 'digits'\npush = 'gradients'", "local_steps: got 8 with gradients pushed"),
        ("[grid]\nseed = 0", "has no [[arms]]"),
        ("[[arms", "study.toml"),
    ],
)
def test_what_is_wrong_with_a_study_is_said_before_anything_is_trained(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "study.toml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_study(str(tmp_path / "study.toml"))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_holds_no_rows_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "frontier.json").write_text("[1, 2]")
    with pytest.raises(ConfigError, match="no file of this study's rows"):
        Rows(tmp_path / "frontier.json")
