"""Servers and workers as processes of their own, forked within milliseconds from one that has torch and the kernels."""

import multiprocessing
import multiprocessing.forkserver
import os
import sys
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from gradwire_common import logs
from gradwire_common.settings.config import Config

START_SECONDS = 120.0
_context = multiprocessing.get_context("forkserver")


def preload(**environment: str) -> None:
    """Start the process that all others are forked from, with `environment` beside this one's, unless it runs."""
    _context.set_forkserver_preload(["end_to_end.preloaded"])
    before = dict(os.environ)
    try:
        os.environ.update({"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", **environment})
        multiprocessing.forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)


def start_server(config: Config, log: Path) -> tuple[ForkServerProcess, str]:
    """Start a server; return it and the address that it serves at, once it does."""
    near, far = _context.Pipe(duplex=False)
    process = _context.Process(target=_serve, args=(config, far, log), name="server")
    process.start()
    far.close()
    try:
        assert near.poll(START_SECONDS), f"the server did not listen within {START_SECONDS} s; log: {log}"
        return process, f"127.0.0.1:{near.recv()}"
    except EOFError:
        raise AssertionError(f"the server ended: {log.read_text()[-2000:]}") from None


def start_worker(config: Config, log: Path) -> ForkServerProcess:
    """Start a worker of the server that `config` names."""
    process = _context.Process(target=_work, args=(config, log), name=config.worker_id)
    process.start()
    return process


def _serve(config: Config, ready: Connection, log: Path) -> None:
    _begin(log, "server")
    from gradwire_server.app import serve

    serve(config, ready=ready.send)


def _work(config: Config, log: Path) -> None:
    _begin(log, config.worker_id or "worker")
    from gradwire_worker.runner import run_worker

    run_worker(config)


def _begin(log: Path, name: str) -> None:
    """Write to `log` from now on."""
    assert "end_to_end.preloaded" in sys.modules, "the process that this one was forked from has nothing in memory"
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    logs.configure("info", name)
