"""A thread that does one piece of work after the other."""

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any


class WorkThread:
    """A thread that does one piece of work after the other; interrupts of the main thread tear nothing of it."""

    def __init__(self, name: str):
        self._work: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=_do_all, args=(self._work,), name=name, daemon=True)
        self._thread.start()
        self._ending = weakref.finalize(self, self._work.put, None)

    def submit(self, work: Callable[[], Any]) -> "Future[Any]":
        """Let `work` be done after all that was submitted before."""
        future: Future[Any] = Future()
        self._work.put((future, work))
        return future

    def wait(self) -> None:
        """Wait until all that was submitted is done."""
        self.submit(lambda: None).result()

    def close(self) -> None:
        """End the thread once all is done."""
        self._ending()
        if self._thread is not threading.current_thread():  # where the last reference was dropped there
            self._thread.join()


def _do_all(submitted: "SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]") -> None:
    while (each := submitted.get()) is not None:
        future, work = each
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)
        del each, future, work
