"""The same work in several processes, of which none may die unnoticed."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TypeVar

T = TypeVar("T")


def run_in_processes(work: Callable[[int], T], n: int) -> list[T]:
    """Return work(0) to work(n - 1), each from a process forked for it; the first is this process where n is 1.

    Raises:
        SystemExit: a process died.
    """
    if n == 1:
        return [work(0)]
    context = multiprocessing.get_context("fork")  # the children have the warm kernels and the corpus
    ends = [context.Pipe(duplex=False) for _ in range(n)]
    children = [context.Process(target=_send, args=(work, i, ends[i][1])) for i in range(n)]
    for child, (_, sending) in zip(children, ends, strict=True):
        child.start()
        sending.close()
    results = [_receive(receiving) for receiving, _ in ends]
    for i, child in enumerate(children):
        child.join()
        if child.exitcode:
            raise SystemExit(f"process {i} died, exit code {child.exitcode}")
    return [result for result in results if result is not None]


def _send(work: Callable[[int], T], i: int, sending: Connection) -> None:
    sending.send(work(i))


def _receive(receiving: Connection) -> T | None:  # type: ignore[type-var]
    """What a child sent; None where it died before."""
    try:
        return receiving.recv()  # type: ignore[no-any-return]
    except EOFError:
        return None
