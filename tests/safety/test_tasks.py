"""A background task that dies ends the server at once, loudly, with exit code 1; checkpoint and weights are written."""

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from numpy.testing import assert_array_equal
from safetensors.numpy import load_file

from gradwire_server.store.state_files import checkpoint_versions
from gradwire_server.supervision import Supervisor
from server.plain_worker import MANIFEST, PlainWorker, gradient_of, initial_weights

ENDS_WITHIN = 60.0  # seconds, on a machine that is busy; half of what workers get to leave in otherwise

# A server whose parts fail once a line has come on standard input
PROGRAM = """
import sys, threading
from gradwire.main import main
from gradwire_server.limits.fair_queue import FairQueue
from gradwire_server.rpc import metrics
from gradwire_server.run.run import Run
from gradwire_server.store import checkpoint
from gradwire_server.store.books import Books
from gradwire_server.store.journal import Segment

broken = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), broken.set(), print("broken", flush=True)), daemon=True).start()

def breaks(owner, name):
    intact = getattr(owner, name)
    def method(*arguments, **options):
        if broken.is_set():
            raise ZeroDivisionError("made to fail")
        return intact(*arguments, **options)
    setattr(owner, name, method)

what = sys.argv.pop(1)
if what == "expire":
    breaks(Run, "expire")
elif what == "committed":
    breaks(Books, "commit")
elif what == "journal":
    breaks(Segment, "append")
elif what == "checkpoint":
    breaks(checkpoint, "save_checkpoint")
elif what == "limits":
    breaks(FairQueue, "take")
elif what == "metrics":
    make = metrics.make_server
    def made(*arguments):
        server = make(*arguments)
        threading.Thread(target=lambda: (broken.wait(), server.shutdown()), daemon=True).start()
        return server
    metrics.make_server = made
main()
"""


@contextmanager
def breakable_server(what: str, runs: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    arguments = ["--runs", runs, "--listen", "127.0.0.1:0", "--workers", 1, "--quantizer", "float32", *options]
    command = [sys.executable, "-c", PROGRAM, what, "server", *map(str, arguments), "--optimizer-options", "{}"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def joined(process: subprocess.Popen[str]) -> PlainWorker:
    assert process.stdout is not None
    worker = PlainWorker(process.stdout.readline().split()[-1], "a")
    worker.begin(initial_weights())
    worker.push(gradient_of(0), 1)
    worker.receive()
    return worker


def broken(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert "broken\n" in process.stdout  # after the line that starts a worker


def push(worker: PlainWorker) -> None:
    worker.push(gradient_of(1), 2)


def nothing(_: PlainWorker) -> None:
    """The part fails by itself."""


def refused(worker: PlainWorker) -> None:
    with pytest.raises(Exception, match="the server's journal failed"):
        push(worker)


def cut_off(worker: PlainWorker) -> None:
    with pytest.raises(grpc.RpcError):
        push(worker)


CASES: list[tuple[str, str, Callable[[PlainWorker], None], tuple[str, ...]]] = [
    ("expire", "looking for dead workers failed", nothing, ()),
    ("committed", "the run failed", push, ()),
    ("journal", "writing the journal failed", refused, ()),
    ("checkpoint", "writing a checkpoint failed", push, ("--checkpoint-every", "2")),
    ("limits", "sharing out a limit failed", cut_off, ("--shared-up", "1 kbit/s", "--burst-shared", "64 KiB")),
    ("metrics", "thread metrics failed", nothing, ("--metrics-listen", "127.0.0.1:0")),
]


@pytest.mark.parametrize(("what", "said", "provoke", "options"), CASES, ids=[case[0] for case in CASES])
def test_a_part_of_the_server_that_dies_ends_it_in_order(
    tmp_path: Path, what: str, said: str, provoke: Callable[[PlainWorker], None], options: tuple[str, ...]
) -> None:
    with breakable_server(what, tmp_path, *options) as process:
        worker = joined(process)
        broken(process)
        provoke(worker)
        _, log = process.communicate(timeout=ENDS_WITHIN)
        worker.channel.close()
    assert process.returncode == 1, log
    assert f"error: the server cannot continue: {said}" in log.splitlines()[-1], log
    assert f"server CRITICAL: {said}" in log
    saved = load_file(tmp_path / "run" / "weights.safetensors")
    version = {"committed": 2, "checkpoint": 2}.get(what, 1)
    if version == 1:
        assert_array_equal(saved["conv.weight"].ravel(), worker.flat[MANIFEST.layout.slots["conv.weight"]])
    assert version == 2 or checkpoint_versions(tmp_path / "run" / "state")[-1] == version


def test_a_signal_after_that_still_ends_it_in_order(tmp_path: Path) -> None:
    with breakable_server("expire", tmp_path) as process:
        worker = joined(process)
        broken(process)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
        worker.channel.close()
    assert process.returncode == 1, log  # whichever comes first
    assert "error: the server cannot continue: looking for dead workers failed" in log.splitlines()[-1], log
    assert checkpoint_versions(tmp_path / "run" / "state")[-1] == 1
    assert (tmp_path / "run" / "weights.safetensors").exists()


def test_a_run_whose_server_failed_is_resumed_with_its_last_version(tmp_path: Path) -> None:
    with breakable_server("expire", tmp_path) as process:
        worker = joined(process)
        broken(process)
        process.communicate(timeout=60)
        worker.channel.close()
    with breakable_server("nothing", tmp_path, "--resume") as process:
        assert process.stdout is not None
        again = PlainWorker(process.stdout.readline().split()[-1], "a")
        again.begin()
        assert again.version == 1
        assert_array_equal(again.flat, worker.flat)
        again.leave()
        again.channel.close()
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log


# -------------------------------------------------------------------------------------- the supervisor


async def fails() -> None:
    raise KeyError("x")


async def returns() -> None:
    pass


@pytest.mark.parametrize(
    ("begin", "said"),
    [
        (lambda supervisor: supervisor.keep("a loop", fails()), r"a loop failed: KeyError\('x'\)"),
        (lambda supervisor: supervisor.keep("a loop", returns()), "a loop failed: .*never should"),
        (lambda supervisor: supervisor.start("some work", fails()), "some work failed: KeyError"),
        (lambda supervisor: supervisor.keep_alive(threading.Thread(name="t")), "thread t failed: .*never should"),
    ],
)
def test_what_dies_is_heard_of(begin: Callable[[Supervisor], object], said: str) -> None:
    async def main() -> Supervisor:
        async with Supervisor() as supervisor:
            begin(supervisor)
            await asyncio.wait_for(supervisor.failed.wait(), 10)
            return supervisor

    with pytest.raises(Exception, match=said):
        raise asyncio.run(main()).failure


def test_work_that_ends_and_loops_that_are_ended_are_no_failures() -> None:
    async def main() -> Supervisor:
        async with Supervisor() as supervisor:
            await supervisor.start("some work", returns())
            supervisor.keep("a loop", asyncio.sleep(100))
            supervisor.keep_alive(threading.main_thread())
            await asyncio.sleep(0)
        return supervisor

    assert asyncio.run(main()).failure is None
