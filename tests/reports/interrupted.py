"""Programs that SIGINT interrupts at random moments; test_interrupts.py runs them as processes that may not hang.

    python interrupted.py PROGRAM=INTERRUPTS ...

Gradient number i is one at entry i and zero elsewhere, the server's step is SGD with rate 1, and nothing is quantised.
So every entry of the weights counts how often its gradient was applied.
"""

import os
import random
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gradwire_worker.interrupts import SIGNALS
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.session import SessionOptions
from gradwire_worker.sources.during_backward import DuringBackward
from gradwire_worker.sources.in_step import InStep
from gradwire_worker.sources.local_steps import LocalSteps
from running import running_server
from worker.toys import run_together, server_config

ENTRIES = 20_000
PROMPT_SECONDS = 1.0
LONGEST_DELAY = 0.06  # seconds before an interrupt; a step takes some 20 ms


class Model(nn.Module):
    """Entries whose gradients are chosen one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.entries = nn.Parameter(torch.zeros(ENTRIES))
        self.n_batches = 0

    def backward(self) -> int:
        """Compute the next gradient; return its entry."""
        self.n_batches += 1
        self.entries[self.n_batches - 1].backward()
        return self.n_batches - 1


@contextmanager
def interrupt_after(seconds: float) -> Iterator[None]:
    """Send SIGINT to this process after so many seconds, also where the body has ended by then; it raises for sure."""
    sender = threading.Thread(target=lambda: (time.sleep(seconds), os.kill(os.getpid(), signal.SIGINT)))
    sender.start()
    try:
        yield
        sender.join()
        time.sleep(1.0)
    finally:
        with suppress(KeyboardInterrupt):
            sender.join()


def train(server: str, interrupts: int, *, checked: bool = True, **options: Any) -> None:
    """Step until an interrupt, then take a step that counts, and so on; leave, and go on with a new optimizer."""
    rng, model = random.Random(1), Model()
    optimizer = RemoteOptimizer(model, server, **options)
    handlers = [signal.getsignal(number) for number in SIGNALS]
    returned: list[int] = []

    def step() -> None:
        optimizer.zero_grad()
        entry = model.backward()
        optimizer.step()
        returned.append(entry)

    for _ in range(interrupts):
        try:
            with interrupt_after(rng.uniform(0.0, LONGEST_DELAY)):
                while True:
                    step()
        except KeyboardInterrupt:
            pass
        version = optimizer.version
        while optimizer.version == version:  # one step, but for local steps and a delay
            step()
        assert optimizer.last_step is not None
        assert optimizer.last_step.counted
        assert [signal.getsignal(number) for number in SIGNALS] == handlers
        assert torch.is_grad_enabled()
    for _ in range(2):  # what was taken by an interrupted step is in the weights by now, whatever became of that
        version = optimizer.version
        while optimizer.version == version:
            step()
    optimizer.leave()
    again = Model()
    with RemoteOptimizer(again, server) as optimizer:
        times = -again.entries.detach()
        assert set(times.tolist()) <= {0.0, 1.0}, "a gradient was applied more than once"
        if checked:
            assert bool(times[returned].all()), "the gradient of a step that returned was not applied"
        assert int(times.sum()) >= interrupts


def plain(folder: Path, interrupts: int) -> None:
    with running_server(server_config(folder, lr=1.0)) as server:
        train(server.address, interrupts)


def overlap(folder: Path, interrupts: int) -> None:
    with running_server(server_config(folder, lr=1.0)) as server:
        train(server.address, interrupts, source=DuringBackward())


def delay(folder: Path, interrupts: int) -> None:
    with running_server(server_config(folder, lr=1.0)) as server:
        train(server.address, interrupts, source=InStep(delay=1))


def asynchronous(folder: Path, interrupts: int) -> None:
    with running_server(server_config(folder, lr=1.0, mode="asynchronous")) as server:
        train(server.address, interrupts)


def own_checkpoint(folder: Path, interrupts: int) -> None:
    with running_server(server_config(folder, lr=1.0)) as server:
        train(server.address, interrupts, session=SessionOptions(worker_id="w"), state=folder)


def local_steps(folder: Path, interrupts: int) -> None:
    with running_server(server_config(folder, lr=1.0)) as server:
        rng, model = random.Random(1), Model()
        with RemoteOptimizer(model, server.address, source=LocalSteps(2, lr=1.0)) as optimizer:
            for _ in range(interrupts):
                try:
                    with interrupt_after(rng.uniform(0.0, LONGEST_DELAY)):
                        while True:
                            optimizer.zero_grad()
                            model.backward()
                            optimizer.step()
                except KeyboardInterrupt:
                    pass
            version = optimizer.version
            while optimizer.version < version + 2:
                optimizer.zero_grad()
                model.backward()
                optimizer.step()
            times = -model.entries.detach()
            assert set(times.tolist()) <= {0.0, 1.0}
            assert int(times.sum()) >= interrupts


def constructor(folder: Path, interrupts: int) -> None:
    """Every interrupted constructor is followed by one that takes a step which counts."""
    rng = random.Random(1)
    with running_server(server_config(folder, lr=1.0)) as server:
        RemoteOptimizer(Model(), server.address).leave()
        for _ in range(interrupts):
            model = Model()
            optimizer: RemoteOptimizer | None = None
            try:
                with interrupt_after(rng.uniform(0.0, LONGEST_DELAY)):
                    while True:
                        optimizer = RemoteOptimizer(model, server.address)
                        optimizer.leave()
            except KeyboardInterrupt:
                pass
            with RemoteOptimizer(model, server.address) as optimizer:
                model.backward()
                optimizer.step()
                assert optimizer.last_step is not None
                assert optimizer.last_step.counted


def waiting_for_others(folder: Path, interrupts: int) -> None:
    """Every interrupt of a step that waits for another worker raises within a second; at last both take the round."""
    model, other = Model(), Model()
    with (
        running_server(server_config(folder, lr=1.0, workers=2)) as server,
        RemoteOptimizer(model, server.address) as optimizer,
        RemoteOptimizer(other, server.address) as second,
    ):
        for i in range(interrupts):
            model.backward()
            began = time.monotonic()
            try:
                with interrupt_after(0.3 * i / interrupts):
                    optimizer.step()
                raise AssertionError("the step returned without the other worker")
            except KeyboardInterrupt:
                assert time.monotonic() - began < 0.3 + PROMPT_SECONDS
            optimizer.zero_grad()

        gone = threading.Event()

        def go_on() -> None:
            for _ in range(2):
                optimizer.step()
                assert optimizer.last_step is not None
                assert optimizer.last_step.counted
            gone.set()
            optimizer.leave()

        def keep_up() -> None:
            while not gone.is_set():
                second.step()

        run_together(go_on, keep_up)


def unreachable(folder: Path, interrupts: int) -> None:
    """A server that is not there, or never answers, is given up within a second, twice in a row."""
    torch.optim.SGD(Model().parameters(), lr=1.0)  # torch imports much of itself with the first optimizer
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as closed:
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in (silent, closed)]
        closed.close()
        for address in addresses * interrupts:
            began = time.monotonic()
            try:
                with interrupt_after(0.2):
                    RemoteOptimizer(Model(), address, session=SessionOptions(patience=60))
            except KeyboardInterrupt:
                assert time.monotonic() - began < 0.2 + PROMPT_SECONDS


def others_handlers(folder: Path, interrupts: int) -> None:
    """A handler that raises nothing is run while a step waits; one that raises something else ends the step."""
    model, other, told = Model(), Model(), threading.Event()
    with (
        running_server(server_config(folder, lr=1.0, workers=2)) as server,
        RemoteOptimizer(model, server.address) as optimizer,
        RemoteOptimizer(other, server.address) as second,
    ):
        for _ in range(interrupts):
            told.clear()
            signal.signal(signal.SIGINT, lambda *_: told.set())

            def join_in() -> None:
                assert told.wait(PROMPT_SECONDS + 1), "the handler was not run"
                second.step()

            threads = [threading.Thread(target=join_in), threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))]
            for thread in threads:
                thread.start()
            model.backward()
            optimizer.step()
            for thread in threads:
                thread.join()
            assert optimizer.last_step is not None
            assert optimizer.last_step.counted

            def time_out(*_: object) -> None:
                raise TimeoutError("alarm")

            signal.signal(signal.SIGALRM, time_out)
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            try:
                optimizer.step()
                raise AssertionError("the step returned without the other worker")
            except TimeoutError:
                second.step()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            run_together(optimizer.step, second.step)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for program, interrupts in (argument.split("=") for argument in sys.argv[1:]):
        with tempfile.TemporaryDirectory() as name:
            globals()[program](Path(name), int(interrupts))
        print(program, "done", flush=True)
