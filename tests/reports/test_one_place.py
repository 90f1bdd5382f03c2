"""A worker's place in a run belongs to the process and to the optimizer that took it, until it leaves."""

import copy
import gc
import logging
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

from gradwire_common.errors import UsageError
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.session import SessionOptions
from gradwire_worker.sources.during_backward import DuringBackward
from gradwire_worker.sources.in_step import InStep
from gradwire_worker.sources.local_steps import LocalSteps
from running import running_server
from worker.toys import batches, perceptron, run_together, server_config, take_step

THREADS = {"gradwire-heartbeat", "gradwire-watch", "gradwire-encode"}
FORKS = """
import multiprocessing, os, signal, sys, time
import torch
from gradwire_common.errors import UsageError
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.session import SessionOptions
from gradwire_worker.sources.during_backward import DuringBackward

model = torch.nn.Linear(8, 2)
optimizer = RemoteOptimizer(model, sys.argv[1], source=DuringBackward(), session=SessionOptions(worker_id="parent"))

def step():
    optimizer.zero_grad()
    model(torch.ones(4, 8)).sum().backward()
    optimizer.step()

def use_it():
    model(torch.ones(4, 8)).sum().backward()
    for call in (optimizer.step, lambda: optimizer.report(1, accuracy=1)):
        try:
            call()
        except UsageError as error:
            assert f"forked from the worker, process {os.getppid()}" in str(error), error
        else:
            raise SystemExit("a forked process took part")
    optimizer.leave()
    with optimizer:
        pass

def end(child):
    deadline = time.monotonic() + 20
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            raise SystemExit("a forked process hangs")
        time.sleep(0.01)

step()
for work in (lambda: None, use_it, lambda: globals().pop("optimizer")):
    child = os.fork()
    if child == 0:
        work()
        sys.exit(0)
    end(child)
    step()
context = multiprocessing.get_context("fork")
process = context.Process(target=use_it)
process.start()
process.join(20)
assert process.exitcode == 0, process.exitcode
step()
loader = torch.utils.data.DataLoader(torch.ones(8, 8), 4, num_workers=2, multiprocessing_context="fork")
for x in loader:
    optimizer.zero_grad()
    model(x).sum().backward()
    optimizer.step()
assert optimizer.version == 7, optimizer.version
optimizer.leave()
"""


def test_forked_processes_neither_leave_nor_take_part(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with running_server(server_config(tmp_path)) as server:
        command = [sys.executable, "-c", FORKS, server.address]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
        assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps, lambda o: torch.save(o, os.devnull)])
def test_copies_and_pickles_are_refused(tmp_path: Path, copied: object) -> None:
    model = perceptron()
    with running_server(server_config(tmp_path)) as server, RemoteOptimizer(model, server.address) as optimizer:
        with pytest.raises(UsageError, match=r"cannot be pickled or copied.*want its state_dict\(\)"):
            copied(optimizer)
        copied(optimizer.state_dict())
        take_step(model, optimizer, batches(1)[0])


class Wrapped(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner


@pytest.mark.parametrize(
    "same",
    [lambda model: model, Wrapped, lambda model: model[2]],
    ids=["the model", "a wrapper of it", "a part of it"],
)
def test_a_second_optimizer_of_a_model_takes_the_firsts_place(tmp_path: Path, caplog, same) -> None:
    model = perceptron()
    with running_server(server_config(tmp_path / "a")) as server, running_server(server_config(tmp_path / "b")) as b:
        first = RemoteOptimizer(model, server.address, session=SessionOptions(worker_id="first"))
        take_step(model, first, batches(1)[0])
        address = server.address if same(model) is model else b.address
        with caplog.at_level(logging.WARNING), RemoteOptimizer(same(model), address) as second:
            assert "worker first leaves the run: another RemoteOptimizer of its model takes its place" in caplog.text
            assert second.slot == 0
            run_together(lambda: take_step(model, second, batches(1)[0]))
            assert second.last_step.counted
            with pytest.raises(UsageError, match="left the run: another RemoteOptimizer of its model took its place"):
                first.step()


def test_optimizers_of_different_models_do_not_touch_each_other(tmp_path: Path) -> None:
    one, two = perceptron(), perceptron()
    with (
        running_server(server_config(tmp_path, workers=2)) as server,
        RemoteOptimizer(one, server.address) as first,
        RemoteOptimizer(two, server.address) as second,
    ):
        run_together(lambda: take_step(one, first, batches(1)[0]), lambda: take_step(two, second, batches(1)[0]))
        assert (first.version, second.version) == (1, 1)


def test_a_dropped_optimizer_leaves_and_takes_its_hooks_away(tmp_path: Path) -> None:
    model = perceptron()
    with running_server(server_config(tmp_path)) as server:
        optimizer = RemoteOptimizer(model, server.address, source=DuringBackward())
        take_step(model, optimizer, batches(1)[0])
        del optimizer
        gc.collect()
        assert not THREADS & {thread.name for thread in threading.enumerate()}
        assert not model[0].weight._post_accumulate_grad_hooks
        with RemoteOptimizer(model, server.address) as again:
            assert again.slot == 0


@pytest.mark.parametrize(
    "options", [{}, {"source": DuringBackward()}, {"source": InStep(delay=1)}, {"source": LocalSteps(2)}], ids=str
)
def test_after_leaving_every_call_answers(tmp_path: Path, options: dict[str, object]) -> None:
    model = perceptron()
    with running_server(server_config(tmp_path)) as server:
        with RemoteOptimizer(model, server.address, **options) as optimizer:
            for batch in batches(2):
                take_step(model, optimizer, batch)
        for call in (optimizer.step, lambda: optimizer.report(1, accuracy=1)):
            with pytest.raises(UsageError, match="this worker has left the run: done; want a new RemoteOptimizer"):
                call()
        model(batches(1)[0][0]).sum().backward()
        optimizer.zero_grad()
        assert model[0].weight.grad is None
        state = optimizer.state_dict()
        assert state["version"] == optimizer.version
        optimizer.load_state_dict(state)
        optimizer.leave()
        optimizer.__exit__(None, None, None)
        assert not optimizer.ended
        assert not THREADS & {thread.name for thread in threading.enumerate()}
        with RemoteOptimizer(model, server.address, **options) as again:
            take_step(model, again, batches(1)[0])
            take_step(model, again, batches(1)[0])


def test_the_reason_of_leaving_is_told(tmp_path: Path) -> None:
    model = perceptron()
    with running_server(server_config(tmp_path)) as server:
        optimizer = RemoteOptimizer(model, server.address)
        with pytest.raises(ZeroDivisionError), optimizer:
            raise ZeroDivisionError("of the loop")
        with pytest.raises(UsageError, match="left the run: ZeroDivisionError: of the loop; want a new"):
            optimizer.step()
