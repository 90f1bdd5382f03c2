"""Runs the arms that have no row yet, each on one core in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from gradwire_common.errors import ClusterError
from gradwire_common.warming import warm_kernels, warm_method
from gradwire_study.frontier.arm import Arm
from gradwire_study.frontier.networks import network_named
from gradwire_study.frontier.rows import Row, Rows

_COMMAND = (sys.executable, "-P", "-m", "gradwire_study.frontier")
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}


def runnable(arms: Sequence[Arm], data: Path | None) -> list[Arm]:
    """Return the arms whose networks need no data, or are given it."""
    return [arm for arm in arms if data is not None or not network_named(arm.network).needs_data]


def run_arms(arms: Sequence[Arm], rows: Rows, data: Path | None, cores: int, report: Callable[[Row], None]) -> None:
    """Run the arms that `rows` lacks, in order; each row is in the file before it is reported.

    Args:
        arms: checked.
        rows: where outcomes go.
        data: of networks that need any.
        cores: arms at once.
        report: told of each new row.

    Raises:
        ClusterError: an arm could not be run; says why. Rows that are there stay.
        OSError: the file cannot be written.
    """
    waiting = [arm for arm in arms if arm not in rows]
    if waiting:  # what has to be compiled is compiled once, and not by every process at the same time
        warm_kernels()
        for method in {arm.method: arm.uplink for arm in waiting}.values():
            warm_method(method)
    for row in _outcomes(waiting, data, cores):
        rows.add(row)
        report(next(each for each in rows if each.arm.key == row.arm.key))


def _outcomes(arms: Sequence[Arm], data: Path | None, cores: int) -> Iterator[Row]:
    """Yield rows as arms are done. The processes end themselves once `held`, and so this process, is gone."""
    lifeline, held = os.pipe()
    pool = ThreadPoolExecutor(max(cores, 1))
    try:
        for each in as_completed([pool.submit(_run, arm, data, lifeline) for arm in arms]):
            yield each.result()
    finally:
        os.close(held)
        pool.shutdown(cancel_futures=True)
        os.close(lifeline)


def _run(arm: Arm, data: Path | None, lifeline: int) -> Row:
    """Run one arm. Raises ClusterError where its process fails."""
    told = json.dumps({"arm": arm.model_dump(mode="json"), "data": data and str(data)})
    done = subprocess.run(  # noqa: S603  this program itself
        [*_COMMAND, told],
        stdin=lifeline,
        capture_output=True,
        text=True,
        env={**os.environ, **_ONE_THREAD},
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"it ended with {done.returncode}"]
        raise ClusterError(f"arm {arm.name!r} of {arm.network} failed: {last[0]}")
    return Row.model_validate_json(done.stdout)
