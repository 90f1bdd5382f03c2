"""Examples of frameworks train with the run and end quietly with it; `make test-frameworks` installs what they need."""

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from gradwire_common.settings.config import Config
from running import running_server

EXAMPLES = Path(__file__).parents[2] / "examples"
ROUNDS = 12


@pytest.mark.parametrize("framework", ["lightning", "transformers", "accelerate"])
def test_the_example_ends_quietly_with_the_run(framework: str, tmp_path: Path) -> None:
    if find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed: pip install 'gradwire[frameworks]'")
    name = {"lightning": "lightning_digits", "transformers": "trainer_digits", "accelerate": "accelerate_digits"}
    config = {"runs": tmp_path, "listen": "127.0.0.1:0", "workers": 1, "rounds": ROUNDS, "evaluate_every": 0}
    with running_server(Config.load(None, config)) as server:
        command = [sys.executable, str(EXAMPLES / f"{name[framework]}.py"), server.address]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert "Traceback" not in ended.stderr
        server.join()
    right = re.search(rf"(after|version) {ROUNDS}.* ([\d.]+)% are right", ended.stdout)
    assert right, ended.stdout
    assert float(right[2]) > 50
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    rounds = [line for line in lines if line["kind"] == "round"]
    assert {line["samples"] for line in rounds} == {64}  # counted from the batches
    assert len({line["learning_rate"] for line in rounds}) == ROUNDS  # the schedule of the loop
