"""The load harness measures what happens: nothing lost, nothing twice, and the server ends with it."""

import json
import subprocess
import sys
from pathlib import Path

BENCH_LOAD = Path(__file__).parents[2] / "benchmarks" / "bench_load.py"


def test_the_load_harness_counts_every_push_of_light_workers_once(tmp_path: Path) -> None:
    found = tmp_path / "load.json"
    options = ["--workers", "3", "--rounds", "4", "--parameters", "6500", "--json", str(found)]
    done = subprocess.run([sys.executable, str(BENCH_LOAD), *options], capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    assert "the bottleneck: " in done.stdout
    figures = json.loads(found.read_text())
    assert [figures[name] for name in ("workers", "rounds", "lost", "duplicates", "errors")] == [3, 4, 0, 0, 0]
    assert figures["rounds_per_s"] > 0
    assert figures["peak_rss_mb"] >= figures["idle_rss_mb"]
