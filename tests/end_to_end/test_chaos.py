import random
from pathlib import Path

import pytest

from end_to_end.chaos import disturbed_runs, preload, schedule


@pytest.mark.long
def test_runs_end_with_the_same_bits_whatever_is_killed_or_cut(tmp_path: Path) -> None:
    preload()
    kinds = schedule(random.Random(1), server=5, worker=5, link=5)
    outcomes = list(disturbed_runs(tmp_path, kinds, per_run=15, workers=2, seed=1))
    assert sum(outcome.disturbances.total() for outcome in outcomes) == len(kinds)
