"""No contents of any file that is read back end in a traceback; what cannot be read is named and left out."""

import hashlib
import json
import logging
import re
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from gradwire_common.errors import CheckpointError, DataError
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.store import state_files
from gradwire_server.store.journal import _HEAD, _START, MAGIC, Reader
from gradwire_server.store.record_lines import read, written
from gradwire_server.store.records import Records
from gradwire_worker.checkpoint.state import WorkerState, load_or_warn
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.session import SessionOptions
from running import running_server
from server.test_resume import config, resumed, weights
from worker.toys import normalized, server_config

DEEP = "[" * 100_000 + "]" * 100_000
ROUND = written(pb.RoundRecord(round=1, loss=0.5)).encode()
BAD_LINES = [
    b'{"round": 7, "los\0\0\0\0',
    b"\0" * 4096,
    b"\xff\xfe\x00binary",
    ROUND[:30],
    b"7",
    b"null",
    b"[]",
    b'"round"',
    b"{}",
    b'{"kind": "rounds", "round": 2}',
    b'{"kind": ["round"], "round": 2}',
    b'{"kind": "round", "round": "two"}',
    b'{"kind": "round", "round": 1e400}',
    b'{"kind": "round", "round": -1}',
    b'{"kind": "round", "round": 2, "worker_times": 3}',
    b'{"kind": "evaluation", "version": 1, "accuracy": 0.5, "loss": 1.0, "count": 8}',
    b'{"kind": "evaluation", "version": 1, "metrics": {}}',
    b'{"kind": "evaluation", "version": 1, "metrics": {"accuracy": {"sum": "high", "count": 2}}}',
    b'{"kind": "evaluation", "version": 1, "metrics": {"loss": {"sum": null, "count": 2}}}',
    b'{"kind": "evaluation", "version": 1, "metrics": {"loss": {"sum": 1, "count": 0}}}',
    b'{"kind": "evaluation", "version": 1, "metrics": {"\\n": {"sum": 1, "count": 1}}}',
    b'{"kind": "round", "round": ' + b"9" * 5000 + b"}",
    DEEP.encode(),
    b"<<<<<<< HEAD",
    rb'{"kind": "round", "round": "\u001b[2J\u202e"}',
    "\u2028\u2029\x0b\x0c\x85".encode(),
]


EVALUATION = pb.Evaluation(version=2, metrics=[pb.Metric(name="mse", sum=0.5, count=3, lower_is_better=True)])


@pytest.mark.parametrize("bad", BAD_LINES, ids=lambda line: repr(line[:24]))
def test_a_line_of_metrics_that_is_no_record_is_named_and_left_out(tmp_path, caplog, bad):
    file = tmp_path / "metrics.jsonl"
    rest = [written(pb.RoundRecord(round=2)).encode(), written(EVALUATION).encode()]
    file.write_bytes(b"\n".join([ROUND, bad, *rest, bad]))
    records = Records(file, resume=True)
    records.resume(2, [])
    records.close()
    assert [record.round for record in records.rounds] == [1, 2]
    assert records.evaluations == [EVALUATION]
    assert [record.round for record in records.after(1)] == [2]
    assert [re.search(r"line \d", line)[0] for line in caplog.messages] == ["line 2", "line 5"]
    assert all(str(file) in line and line.isprintable() for line in caplog.messages)
    assert file.read_bytes() == b"\n".join([ROUND, *rest, b""])


def test_a_round_that_is_missing_or_there_twice_shifts_no_other(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_text("".join(written(pb.RoundRecord(round=number)) + "\n" for number in (1, 2, 2, 5, 4, 6, 9)))
    records = Records(file, resume=True)
    records.resume(6, [pb.RoundRecord(round=7)])
    records.close()
    assert [record.round for record in records.after(0)] == [1, 2, 5, 6, 7]
    assert [record.round for record in records.after(3)] == [5, 6, 7]
    assert [record.round for record in records.after(6)] == [7]


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf"), 1e-300])
def test_every_loss_is_written_as_json_and_read_back(loss):
    line = written(pb.RoundRecord(round=1, loss=loss))
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert str(read(line.encode()).loss) == str(pb.RoundRecord(loss=loss).loss)


def test_a_run_is_resumed_beside_lines_of_any_contents(played, caplog):
    runs, copy, receipt = played
    with (copy / "run" / "metrics.jsonl").open("ab") as file:
        file.write(b"\n".join(BAD_LINES) + b"\n")
    resumed(copy, receipt)
    assert weights(copy) == weights(runs)
    assert sum("metrics.jsonl: line" in line for line in caplog.messages) == len(BAD_LINES)


def rewritten(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    """Change the meta data of a checkpoint, and let its hash be right."""
    body = json.loads(path.read_text())["checkpoint"]
    change(body["meta"])
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps({"sha256": digest, "checkpoint": body}))


FOREIGN_META = {
    "no newest": lambda meta: meta.pop("newest"),
    "no settings": lambda meta: meta.pop("settings"),
    "no manifest": lambda meta: meta.pop("manifest"),
    "no training": lambda meta: meta.pop("training"),
    "settings of another type": lambda meta: meta.update(settings=7),
    "a manifest of nothing": lambda meta: meta.update(manifest={}),
    "a manifest of another type": lambda meta: meta.update(manifest={"tensors": "many"}),
    "slots without numbers": lambda meta: meta.update(slots={"a": "first"}),
    "pushes that are none": lambda meta: meta.update(newest={"a": [1]}),
    "records that are none": lambda meta: meta.update(records=["%%%", 7]),
}


@pytest.mark.parametrize("change", FOREIGN_META.values(), ids=FOREIGN_META.keys())
def test_a_checkpoint_whose_hash_is_right_and_contents_are_not_is_named_and_skipped(played, caplog, change):
    runs, copy, receipt = played
    state = copy / "run" / "state"
    newest = state_files.checkpoint_versions(state)[-1]
    rewritten(state_files.manifest_path(state, newest), change)
    with caplog.at_level(logging.WARNING):
        resumed(copy, receipt)
    assert any("damaged checkpoint is skipped" in line and f"-{newest:010d}.json" in line for line in caplog.messages)
    assert weights(copy) == weights(runs)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_text(DEEP),
        lambda path: path.write_bytes(b"\0" * 500),
        lambda path: path.write_text("[]"),
        lambda path: path.write_text('{"checkpoint": 7, "sha256": 8}'),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: rewritten(path, lambda meta: meta["training"]["outcome"].pop("optimizer")),
        lambda path: rewritten(path, lambda meta: meta["training"]["outcome"]["optimizer"].update(param_groups=[])),
        lambda path: rewritten(
            path, lambda meta: meta["training"]["outcome"]["optimizer"].update(state={"7": {"step": {}}})
        ),
    ],
)
def test_where_no_checkpoint_can_be_read_the_server_ends_with_one_line(played, damage):
    _, copy, _ = played
    state = copy / "run" / "state"
    for version in state_files.checkpoint_versions(state):
        damage(state_files.manifest_path(state, version))
    with pytest.raises(CheckpointError) as caught, running_server(config(copy, resume=True)):
        pass
    assert str(state) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("meta", [b"{", b"7", b"\xff", DEEP.encode(), b"[]"], ids=lambda meta: repr(meta[:8]))
def test_a_record_of_a_journal_whose_checksum_is_right_and_contents_are_not_is_left_out(tmp_path, caplog, meta):
    head = _HEAD.pack(1, len(meta), 0)
    path = tmp_path / "journal-0000000000"
    path.write_bytes(_START.pack(MAGIC, 0) + head + zlib.crc32(head + meta).to_bytes(4, "little") + meta)
    assert list(Reader(path, 0)) == []
    assert f"{path}: the last {len(head) + 4 + len(meta)} bytes are no whole record" in caplog.text


@pytest.mark.parametrize("text", ["{}", '{"round": 4}', '{"round": 4, "pushes": 7, "record": "%"}'])
def test_a_journal_of_other_records_ends_in_one_line(played, text):
    _, copy, _ = played
    state = copy / "run" / "state"
    path = state_files.segment_path(state, state_files.segment_versions(state)[-1])
    head = _HEAD.pack(2, len(text), 0)
    with path.open("ab") as journal:
        journal.write(head + zlib.crc32(head + text.encode()).to_bytes(4, "little") + text.encode())
    with (
        pytest.raises(CheckpointError, match="cannot resume from the checkpoint of version"),
        running_server(config(copy, resume=True)),
    ):
        pass


# -------------------------------------------------------------------------------------- a worker's own


@pytest.fixture(scope="module")
def worker_file(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("state")
    model = normalized()
    with (
        running_server(server_config(folder)) as server,
        RemoteOptimizer(model, server.address, state=folder, session=SessionOptions(worker_id="a")) as optimizer,
    ):
        model(torch.ones(2, 1, 8, 8)).sum().backward()
        optimizer.step()
    return folder / "a.worker"


def with_metadata(path: Path, **changes: str) -> None:
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    head = json.loads(raw[8 : 8 + length])
    head["__metadata__"] |= changes
    text = json.dumps(head).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "zeroed": lambda path: path.write_bytes(b"\0" * path.stat().st_size),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "foreign": lambda path: path.write_text("years of work"),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a push of other numbers": lambda path: with_metadata(path, pushed='{"run_id": "x"}'),
    "a push changed by a bit": lambda path: with_metadata(path, local="{ }"),
    "a push nested deep": lambda path: with_metadata(path, pushed=DEEP),
    "other tensors": lambda path: save_file({"x": np.zeros(3)}, path),
    "no metadata": lambda path: save_file(load_file(path), path),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_workers_state_of_any_contents_is_named_and_left_out(tmp_path, caplog, worker_file, damage):
    path = tmp_path / "a.worker"
    shutil.copy(worker_file, path)
    run_id = WorkerState.load(path).pushed.run_id
    damage(path)
    with pytest.raises(DataError, match=re.escape(str(path))):
        WorkerState.load(path)
    assert load_or_warn(path, run_id) is None
    assert str(path) in caplog.text
