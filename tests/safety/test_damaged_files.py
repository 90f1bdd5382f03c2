"""Files of any contents get one line at the most, whichever command reads them."""

import asyncio
import hashlib
import json
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from gradwire.commands.inspect import read_tensors
from gradwire.views.history import History
from gradwire.views.report import figures, summary_table
from gradwire_common.errors import GradwireError, UsageError
from gradwire_common.settings.config import Config
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.run.run import Run
from gradwire_server.store import state_files
from gradwire_server.store.journal import _HEAD, _START, MAGIC, Reader, Record, _pieces
from gradwire_server.store.record_lines import written
from gradwire_server.store.records import Records
from gradwire_server.store.state import Store
from gradwire_server.versions.resuming import resume
from gradwire_worker.checkpoint.state import Pushed, WorkerState, _crc, load_or_warn
from gradwire_worker.checkpoint.weights_file import load_weights
from running import copy_as_killed, running_server
from server.plain_worker import initial_weights, plain_workers
from server.test_resume import config, play
from server.test_resume import push as push_for
from worker.toys import perceptron

FUZZED = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
VECTOR = np.zeros(5, np.float32)
WORKER_STATE = WorkerState(Pushed("run", 1, 1, False, "codec", 0.5), b"frames", VECTOR, VECTOR[:0])

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["NaN", "Infinity", "a", "__metadata__", "F32", "\x1b[2J"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where there is anything in a value of JSON."""
    yield place
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*place, key))


def changed(value: Any, data: st.DataObject) -> Any:
    """Return a copy of a value of JSON with something in it left out or replaced."""
    copy = json.loads(json.dumps(value))
    place = data.draw(st.sampled_from(list(places(copy))))
    if not place:
        return data.draw(JSON)
    owner = copy
    for key in place[:-1]:
        owner = owner[key]
    if data.draw(st.booleans()):
        del owner[place[-1]]
    else:
        owner[place[-1]] = data.draw(JSON)
    return copy


@contextmanager
def one_line_at_most() -> Iterator[None]:
    """Let the body end with a GradwireError, of which commands and logs show one line, or without any."""
    with suppress(GradwireError):
        yield


ROUND = json.loads(written(pb.RoundRecord(round=1, loss=0.5, seconds=1, bytes_up=7, contributors=2)))
EVALUATION = json.loads(
    written(pb.Evaluation(version=2, metrics=[pb.Metric(name="mse", sum=0.5, count=3, lower_is_better=True)]))
)


@FUZZED
@given(st.data())
def test_lines_of_metrics_of_any_contents_are_read_by_every_command(tmp_path: Path, data: st.DataObject) -> None:
    lines = [json.dumps(changed(data.draw(st.sampled_from([ROUND, EVALUATION])), data)).encode() for _ in range(3)]
    lines.append(data.draw(st.binary(max_size=30)))
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(b"\n".join(lines) + b"\n")
    history = History("run")
    history.read(file)
    summary_table(history)
    json.dumps(figures(history))
    records = Records(file, resume=True)
    records.resume(2**31, [])
    pb.StatusReply(records=records.after(0), evaluations=records.newest_evaluations)
    records.close()


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of runs as a kill of their server left it: a checkpoint, and pushes and rounds after it."""
    runs, copy = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("copies") / "runs"
    with (
        running_server(config(runs, checkpoint_every=100)) as server,
        plain_workers(server.address, 2) as workers,
    ):
        for worker in workers:
            worker.begin(initial_weights())
        play(workers, 1, 2)
        push_for(workers[0], 3)
        copy_as_killed(runs, copy)
    return copy


def try_to_resume(runs: Path) -> None:
    """Do what a server with --resume does before it listens."""

    async def main() -> None:
        settings = config(runs, resume=True, checkpoint_every=100)
        store = Store(runs / "run" / "state", 100, 2)
        records = Records(runs / "run" / "metrics.jsonl", resume=True)
        run = Run(settings, records, store)
        try:
            await resume(run)
        finally:
            run.numbers.close()
            await store.close()
            records.close()

    with one_line_at_most():
        asyncio.run(main())


@FUZZED
@given(st.data())
def test_a_checkpoint_of_any_contents_whose_hash_is_right_is_refused_in_a_line_or_resumed(
    tmp_path: Path, killed: Path, data: st.DataObject
) -> None:
    runs = fresh_copy(killed, tmp_path)
    path = state_files.manifest_path(runs / "run" / "state", 0)
    body = changed(json.loads(path.read_text())["checkpoint"], data)
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps({"sha256": digest, "checkpoint": body}))
    try_to_resume(runs)


@FUZZED
@given(st.data())
def test_a_journal_of_any_contents_whose_checksums_are_right_is_refused_in_a_line_or_resumed(
    tmp_path: Path, killed: Path, data: st.DataObject
) -> None:
    runs = fresh_copy(killed, tmp_path)
    path = state_files.segment_path(runs / "run" / "state", 0)
    records = list(Reader(path, 0))
    spoiled = data.draw(st.integers(0, len(records) - 1))
    with path.open("wb") as file:
        file.write(_START.pack(MAGIC, 0))
        for number, record in enumerate(records):
            meta = changed(record.meta, data) if number == spoiled else record.meta
            for piece in _pieces(Record(record.kind, meta, record.data)):
                file.write(piece)
    try_to_resume(runs)


def fresh_copy(killed: Path, tmp_path: Path) -> Path:
    runs = tmp_path / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    return Path(shutil.copytree(killed, runs))


DAMAGES: dict[str, Callable[[bytes, int], bytes]] = {
    "cut": lambda content, place: content[:place],
    "a bit": lambda content, place: content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :],
    "zeroed": lambda content, place: content[:place] + bytes(len(content) - place),
    "longer": lambda content, place: content + content[:place],
}


@settings(FUZZED, max_examples=60)
@given(data=st.data(), damage=st.sampled_from(sorted(DAMAGES)))
def test_a_damaged_file_of_the_state_is_named_or_left_out(
    tmp_path: Path, killed: Path, data: st.DataObject, damage: str
) -> None:
    runs = fresh_copy(killed, tmp_path)
    path = data.draw(st.sampled_from(sorted((runs / "run" / "state").iterdir())))
    content = path.read_bytes()
    path.write_bytes(DAMAGES[damage](content, data.draw(st.integers(0, len(content) - 1))))
    try_to_resume(runs)


HEADER = {
    "__metadata__": {"crc32": "1", "pushed": "{}", "local": "{}", "encoder": "{}"},
    "dense.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
}


@FUZZED
@given(st.data())
def test_tensors_of_any_header_are_read_or_refused_in_a_line(tmp_path: Path, data: st.DataObject) -> None:
    head = json.dumps(changed(HEADER, data)).encode()
    path = tmp_path / "any.safetensors"
    path.write_bytes(len(head).to_bytes(8, "little") + head + bytes(24))
    with one_line_at_most():
        read_tensors(path)
    with one_line_at_most():
        load_weights(perceptron(), path)
    load_or_warn(path, "run")


@settings(FUZZED, max_examples=60)
@given(st.data())
def test_a_workers_state_of_any_contents_whose_checksum_is_right_is_left_out_or_taken(
    tmp_path: Path, data: st.DataObject
) -> None:
    path = tmp_path / "a.worker"
    WORKER_STATE.save(path)
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    told = json.loads(raw[8 : 8 + length])["__metadata__"]
    told.pop("crc32")
    name = data.draw(st.sampled_from(sorted(told)))
    told[name] = json.dumps(changed(json.loads(told[name]), data))
    arrays = {
        "frames": np.frombuffer(WORKER_STATE.frames, np.uint8),
        **{each: getattr(WORKER_STATE, each) for each in ("residual", "buffers", "random", "weights")},
    }
    save_file(arrays, path, {**told, "crc32": str(_crc(arrays, told))})
    load_or_warn(path, "run")


SETTINGS = {"run": {"name": "a", "rounds": 3}, "server": {"lr": 0.1, "optimizer_options": {"momentum": 0.5}}}


@FUZZED
@given(st.data())
def test_settings_of_any_contents_are_loaded_or_refused_in_a_line(tmp_path: Path, data: st.DataObject) -> None:
    table = data.draw(st.sampled_from(["run", "server", "coding", "worker", "task"]))
    name = data.draw(st.sampled_from(sorted(Config.sections[table].model_fields)))
    value = data.draw(JSON)
    file = tmp_path / "any.toml"
    file.write_text(f"[{table}]\n{name} = {as_toml(value)}\n", "utf-8", "surrogatepass")
    with one_line_at_most():
        Config.load(file)


def as_toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {as_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value)


@pytest.mark.parametrize("text", ["[" * 100_000, "a = " + "[" * 100_000 + "]" * 100_000, "a = " + "{a=" * 50_000])
def test_settings_that_are_nested_deep_are_refused_in_a_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "deep.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match="bad TOML"):
        Config.load(file)


def test_a_record_of_a_push_with_values_of_other_types_is_refused_before_it_counts(
    tmp_path: Path, killed: Path
) -> None:
    """The newest push waits for its round: nothing but the resumed run would find out."""
    for name, value in (("loss", "low"), ("samples", "4"), ("slot", None), ("worker", 7), ("spent", [])):
        runs = fresh_copy(killed, tmp_path)
        path = state_files.segment_path(runs / "run" / "state", 0)
        *_, last = Reader(path, 0)
        meta = json.dumps({**last.meta, name: value}).encode()
        head = _HEAD.pack(1, len(meta), len(last.data))
        check = zlib.crc32(head + meta + last.data).to_bytes(4, "little")
        with path.open("ab") as journal:
            journal.write(head + check + meta + last.data)
        with (
            pytest.raises(GradwireError, match=f"journal: {name} of a push is .*, want"),
            running_server(config(runs, resume=True, checkpoint_every=100)),
        ):
            pass
