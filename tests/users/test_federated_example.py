"""The federated example trains as its head and docs/federated.md say."""

import json
import re
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "federated_digits.py"
SAID = re.compile(r"gradwire (server .*?--bits 1)")


def test_four_clients_with_uneven_shards_learn_the_digits(start, server, run, tmp_path):
    arguments = SAID.search(EXAMPLE.read_text())[1].split()[1:]
    assert " ".join(arguments) in (EXAMPLE.parents[1] / "docs" / "federated.md").read_text()
    address = server(*arguments)
    clients = [start(address, program=(str(EXAMPLE),)) for _ in range(4)]
    assert [client.wait() for client in clients] == [0] * 4, "\n".join(client.said for client in clients)
    said = "".join(client.said for client in clients)
    assert "Traceback" not in said
    counts = [json.loads(counts) for counts in re.findall(r"images by class (\[.*\])", said)]
    assert len(counts) == 4
    assert sum(map(sum, counts)) == 1437
    assert max(map(max, counts)) > 5 * min(map(min, counts))
    right = [float(percent) for percent in re.findall(r"version 60, ([\d.]+)% of the test images are right", said)]
    assert len(right) == 4
    assert len(set(right)) == 1  # all hold the same weights
    assert right[0] > 80
    lines = [json.loads(line) for line in (tmp_path / "runs" / "run" / "metrics.jsonl").read_text().splitlines()]
    rounds = [line for line in lines if line["kind"] == "round"]
    assert {line["contributors"] for line in rounds} == {2}
    last = [line for line in lines if line["kind"] == "evaluation"][-1]
    assert (last["version"], last["metrics"]["accuracy"]["count"]) == (60, 360)
