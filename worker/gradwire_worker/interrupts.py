"""Signals held back while a call into gradwire works: their handlers run between two waits, and tear nothing.

Python runs a signal's handler between any two instructions of the main thread, and that of Ctrl-C raises there: while
gRPC holds a lock, which nobody releases then, or while a residual is half written. So a call into gradwire is made
under `HELD`: signals are only noted there, and every wait looks at them by `check`.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, TypeVar

import grpc

T = TypeVar("T")

POLL_SECONDS = 0.1  # between two looks of a wait at the signals
SIGNALS = (  # whose handlers may raise; the first is held back first and released last
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGALRM,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


class Interrupted(BaseException):
    """A signal's handler raised at a wait. `HELD` raises what it raised, once everything is in order."""


class _Held:
    """A context that holds back the signals of the main thread; in every other thread, which has none, it does nothing.

    At every moment either nothing is held, and a signal has the effect of its own handler whether or not ours stands in
    its place; or all of SIGNALS are held, and none can raise. Contexts may be nested. Handlers that are not Python's
    are left alone.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._noted: list[tuple[int, FrameType | None]] = []
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}  # of signals in whose place ours stands
        self._raised: BaseException | None = None
        self._ours = self._note  # one object, to be known by

    def __enter__(self) -> None:
        if not _in_main_thread():
            return
        if not self._depth:
            for number in SIGNALS:
                handler = signal.getsignal(number)
                if callable(handler) and handler is not self._ours:
                    self._handlers[number] = handler
                    signal.signal(number, self._ours)
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not _in_main_thread():
            return
        if self._depth == 1:
            self._run_handlers()
        self._depth -= 1
        if self._depth:
            return
        raised, self._raised = self._raised, None
        while self._noted:  # one that came just before nothing was held
            self._note(*self._noted.pop(0))
        for number in reversed(SIGNALS):
            if number in self._handlers and signal.getsignal(number) is self._ours:
                signal.signal(number, self._handlers[number])
                del self._handlers[number]
        if raised is not None:
            raise raised from (None if isinstance(error, Interrupted) else error)

    def check(self) -> None:
        """Run the handlers of signals that came; called by every wait, where nothing is half done.

        Raises:
            Interrupted: one of them raised.
        """
        if self._noted and self._depth and _in_main_thread() and self._run_handlers():
            raise Interrupted

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._depth:
            self._noted.append((number, frame))
        else:
            self._handlers[number](number, frame)

    def _run_handlers(self) -> bool:
        """Run the handlers of signals that came, the first first; say whether one has raised."""
        failed = False
        while self._noted:
            number, frame = self._noted.pop(0)
            try:
                self._handlers[number](number, frame)
            except BaseException as error:
                self._raised, failed = error, True
        return failed


HELD = _Held()
check = HELD.check


@contextmanager
def locked(lock: threading.Lock) -> Iterator[None]:
    """Hold `lock`, looking at signals while it is another's. Raises Interrupted, the lock not being held then."""
    while not lock.acquire(timeout=POLL_SECONDS):
        check()
    try:
        yield
    finally:
        lock.release()


def sleep(seconds: float, awake: threading.Event) -> None:
    """Wait for so many seconds, or until `awake` is set, looking at signals meanwhile. Raises Interrupted."""
    left = seconds
    while left > 0 and not awake.wait(min(left, POLL_SECONDS)):
        left -= POLL_SECONDS
        check()


def answer_of(call: Any, look: Callable[[], None] = lambda: None) -> Any:
    """Return the answer of a gRPC call in progress, which `Interrupted` leaves in progress.

    Args:
        call: the call.
        look: called again and again during the wait.

    Raises:
        grpc.RpcError: the call failed.
    """
    while True:
        try:
            return call.result(timeout=POLL_SECONDS)
        except grpc.FutureTimeoutError:
            check()
            look()


def done_apart(work: Callable[[], T]) -> T:
    """Return what `work` does in a thread of its own; `Interrupted` leaves it behind there, to be finished."""
    outcome: list[T] = []
    failure: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:
            failure.append(error)
        done.set()

    threading.Thread(target=run, name="gradwire-apart", daemon=True).start()
    while not done.wait(POLL_SECONDS):
        check()
    if failure:
        raise failure[0]
    return outcome[0]


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
