"""A journal that a build without bounds left poisoned is resumed: the offending push is named and skipped.

The journals are those of this build, in the same format, with records that an older one would have let in.
"""

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from coding import encoded
from gradwire_common.methods.frames import encode_exact
from gradwire_common.methods.raw import Raw
from gradwire_common.transport.digests import digest_of
from gradwire_server.store.journal import Kind, Reader, Record, Segment
from gradwire_server.store.state_files import segment_path
from running import copy_as_killed
from safety.honest import honest_pair, serving, undisturbed
from server.plain_worker import MANIFEST, gradient_of, plain_workers, run_config

ROUNDS, KILLED_AFTER = 4, 2
LAYOUT = MANIFEST.layout
CHANGES = {"rounds": ROUNDS, "checkpoint_every": 100}


def poison(value: float, *, with_buffers: bool = False, **changes: Any) -> Record:
    """Return the record of a push of worker evil as an older build wrote it."""
    values = np.full(LAYOUT.n_parameters + LAYOUT.n_buffers, value, np.float32)
    if with_buffers:
        values[: LAYOUT.n_parameters] = 0
    frames = encoded(Raw(), LAYOUT, values[: LAYOUT.n_parameters])
    if with_buffers:
        frames += encode_exact(values, LAYOUT.buffers)
    data = b"".join(frames)
    meta = {
        "worker": "evil",
        "slot": 2,
        "round": KILLED_AFTER + 1,
        "samples": 1,
        "with_buffers": with_buffers,
        "digest": digest_of(data),
        "loss": 0.5,
        "budget": 0,
        "spent": 1000,
        "times": {},
        **changes,
    }
    return Record(Kind.PUSH, meta, data)


def played(runs: Path, copy: Path, change: Callable[[list[Record]], list[Record]]) -> None:
    """Play KILLED_AFTER rounds at `runs`; leave at `copy` what a kill would, its journal's records changed."""
    with serving(run_config(runs, **CHANGES)) as server, honest_pair(server.address) as pair:
        pair.begin()
        pair.play(KILLED_AFTER)
        copy_as_killed(runs, copy)
    path = segment_path(copy / "run" / "state", 0)
    records = [replace(record, data=bytes(record.data)) for record in Reader(path, 0)]
    assert [record.kind for record in records] == [Kind.PUSH, Kind.PUSH, Kind.COMMIT] * KILLED_AFTER
    segment = Segment(path, 0)
    segment.append(change(records))
    segment.close()


def resumed(copy: Path) -> np.ndarray:
    """Resume at `copy` with the honest workers, to the end."""
    config = run_config(copy, **CHANGES, resume=True)
    with serving(config) as server, honest_pair(server.address) as pair:
        pair.begin()
        assert pair.version == KILLED_AFTER
        pair.play(ROUNDS - KILLED_AFTER)
        return pair.end(server)


@pytest.mark.parametrize(
    ("record", "named"),
    [
        (poison(1e30, samples=2**62), "samples: got 4611686018427387904"),
        (poison(3e38, samples=8), "dense.weight: got .*e[+]38 at entry 0"),
        (poison(1e16), "dense.weight: got"),
        (poison(0.0, samples=2**64 - 1), "samples: got 18446744073709551615"),
        (poison(0.0, budget=2**63), "budget: got 9223372036854775808"),
        (poison(0.0, times={"compute": "Infinity"}), "compute: got inf"),
        (poison(0.0, loss=float("inf")), "loss: got inf"),
        (poison(3e38, with_buffers=True, samples=4), "norm.mean: got"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_push_of_the_open_round_that_cannot_be_applied_is_named_and_skipped(tmp_path, caplog, record, named):
    played(tmp_path / "runs", tmp_path / "copy", lambda records: [*records, record])
    with caplog.at_level(logging.WARNING):
        assert_array_equal(resumed(tmp_path / "copy"), undisturbed(ROUNDS))
    assert "journal: the push of worker evil for round 3 is skipped" in caplog.text
    assert any(re.search(named, line) for line in caplog.messages)


def test_a_push_that_made_the_buffers_of_a_closed_round_infinite_is_named_and_skipped(tmp_path, caplog):
    record = poison(3e38, with_buffers=True, samples=64, round=KILLED_AFTER)

    def change(records: list[Record]) -> list[Record]:
        *first, a, b, commit = records
        pushes = [*commit.meta["pushes"], [2, "evil", record.meta["digest"], KILLED_AFTER]]
        return [*first, a, b, record, replace(commit, meta={**commit.meta, "pushes": pushes})]

    played(tmp_path / "runs", tmp_path / "copy", change)
    with caplog.at_level(logging.WARNING):
        assert_array_equal(resumed(tmp_path / "copy"), undisturbed(ROUNDS))
    assert "journal: round 2 is made without the push of worker evil: norm.mean: got" in caplog.text


def test_what_is_out_of_bounds_and_was_applied_is_applied_again(tmp_path, caplog):
    """Its version was published: the workers hold its bits."""
    played(tmp_path / "runs", tmp_path / "copy", lambda records: [_larger(record) for record in records])
    config = run_config(tmp_path / "copy", **CHANGES, resume=True)
    with serving(config) as server, honest_pair(server.address) as pair:
        pair.begin()
        assert np.abs(pair.workers[0].flat[: LAYOUT.n_parameters]).min() > 1e17
    assert "skipped" not in caplog.text


def test_a_push_that_waited_in_the_queue_of_an_asynchronous_run_is_skipped(tmp_path, caplog):
    runs, copy = tmp_path / "runs", tmp_path / "copy"
    changes: dict[str, Any] = {"mode": "asynchronous", "workers": 1, "rounds": 4, "checkpoint_every": 100}
    with serving(run_config(runs, **changes)) as server, plain_workers(server.address, 1) as (a,):
        a.begin()
        a.push(gradient_of(1), 1)
        a.receive()
        copy_as_killed(runs, copy)
    path = segment_path(copy / "run" / "state", 0)
    records = [replace(record, data=bytes(record.data)) for record in Reader(path, 0)]
    segment = Segment(path, 0)
    segment.append([*records, poison(1e30, round=2, samples=2**50)])
    segment.close()
    with serving(run_config(copy, **changes, resume=True)) as server, plain_workers(server.address, 1) as (a,):
        a.begin()
        for round_ in (2, 3, 4):
            a.push(gradient_of(round_), round_)
            assert a.receive().version == round_
        a.leave()
        server.join()
    assert "journal: the push of worker evil for round 2 is skipped" in caplog.text


def _larger(record: Record) -> Record:
    """Let the first push of round 1 be one of 1e20, as an older build let in."""
    other = poison(1e20, worker="a", slot=0, round=1)
    if record.kind is Kind.PUSH and (record.meta["worker"], record.meta["round"]) == ("a", 1):
        return other
    if record.kind is Kind.COMMIT and record.meta["round"] == 1:
        (first, *others) = record.meta["pushes"]
        changed = [[*first[:2], other.meta["digest"], first[3]], *others]
        return replace(record, meta={**record.meta, "pushes": changed})
    return record
