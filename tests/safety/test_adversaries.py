"""Two of eight workers lie, on the digits at 2 bits: robust rules end where the clean run does, and name the liars."""

import importlib.util
import sys
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

POINT = 0.01
SHORT, LONG = 60, 150  # rounds


def loaded() -> ModuleType:
    """Return benchmarks/adversaries.py."""
    path = Path(__file__).parents[2] / "benchmarks" / "adversaries.py"
    spec = importlib.util.spec_from_file_location("adversaries", path)
    module = sys.modules["adversaries"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


adversaries = loaded()
LIES = [name for name in adversaries.LIES if name != "nothing"]


@cache
def clean(rounds: int) -> float:
    """The accuracy of the mean where nobody lies."""
    with tempfile.TemporaryDirectory() as folder:
        return adversaries.run(Path(folder), "nothing", rounds=rounds).accuracy


def test_the_median_ends_where_the_clean_run_does_and_the_liars_are_named(tmp_path: Path) -> None:
    outcome = adversaries.run(tmp_path, "sign flipped, times 10", rounds=SHORT, aggregation="median")
    assert outcome.accuracy >= clean(SHORT) - POINT
    outlying = {name: worker.outlying for name, worker in outcome.named.items()}
    assert min(n for name, n in outlying.items() if name.startswith("liar")) == SHORT
    assert max(n for name, n in outlying.items() if name.startswith("honest")) < SHORT / 4


@pytest.mark.long
@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("aggregation", ["trimmed_mean", "median", "multi_krum"])
def test_robust_rules_end_within_a_point_of_the_clean_run(tmp_path: Path, aggregation: str, lie: str) -> None:
    outcome = adversaries.run(tmp_path, lie, rounds=LONG, aggregation=aggregation)
    assert outcome.accuracy >= clean(LONG) - POINT
    liars = [worker for name, worker in outcome.named.items() if name.startswith("liar")]
    assert all(worker.outlying or worker.refused for worker in liars)


@pytest.mark.long
@pytest.mark.parametrize("lie", LIES)
def test_a_mean_of_equal_weights_survives_with_clipping(tmp_path: Path, lie: str) -> None:
    settings = {"clip_norm": "median", "aggregation_options": '{"weights": "equal"}'}
    outcome = adversaries.run(tmp_path, lie, rounds=LONG, **settings)
    assert outcome.accuracy >= clean(LONG) - 2 * POINT
    liars = [worker for name, worker in outcome.named.items() if name.startswith("liar")]
    assert all(worker.clip_scale < 0.5 or worker.refused for worker in liars)


@pytest.mark.long
def test_a_plain_mean_does_not_survive(tmp_path: Path) -> None:
    assert adversaries.run(tmp_path, "sign flipped, times 10", rounds=LONG).accuracy < 0.5
