"""RUNS/NAME: always the newest run of that name, written by one process at a time.

An earlier run there is set aside as NAME.1, NAME.2 ..., with all of its files; nothing is overwritten or removed.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gradwire_common.errors import UsageError
from gradwire_common.private_files import make_folder, open_descriptor
from gradwire_server.store.state_files import checkpoint_versions, is_state_file

LOCK = ".lock"  # locked while a process writes to the folder; holds that process's id
CONFIG = "config.toml"
METRICS = "metrics.jsonl"
WEIGHTS = "weights.safetensors"
STATE = "state"  # the folder of the run's journal and checkpoints
_SIGNS = (LOCK, CONFIG, METRICS, WEIGHTS, STATE)  # any of these marks a folder as a run's


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A folder that is this process's own.

    Attributes:
        path: RUNS/NAME.
        lock: descriptor that holds the lock; a child that inherits it may write to the folder too.
        set_aside: where an earlier run went; None where there was none.
    """

    path: Path
    lock: int
    set_aside: Path | None = None


def in_use(path: Path) -> bool:
    """Say whether a process is writing to the run at `path`."""
    try:
        lock = os.open(path / LOCK, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


@contextmanager
def run_folder(path: Path, *, resume: bool = False, lock: int | None = None) -> Iterator[RunFolder]:
    """Keep every other process out of `path` while the body runs.

    Args:
        path: RUNS/NAME; made where it is not there. An earlier run there is set aside.
        resume: leave an earlier run that has a checkpoint, or nothing yet, in its place.
        lock: descriptor of the lock where the process that started this one has prepared the folder and holds it.

    Raises:
        UsageError: something other than a run is there, another process is writing to it, or it cannot be written.
    """
    with ExitStack() as held:
        try:
            if lock is None:
                folder = _prepared(path, held, resume=resume)
            else:
                _check_inherited(path, lock)
                folder = RunFolder(path, lock)
            _lock_linked_state(path / STATE, held)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}; want a folder that can be written and locked") from None
        yield folder


def _prepared(path: Path, held: ExitStack, *, resume: bool) -> RunFolder:
    """Lock `path`, and set an earlier run there aside."""
    _check_is_run(path)
    lock = _locked(path)
    held.callback(os.close, lock)
    if not _has_run(path) or (resume and _can_go_on(path)):
        return RunFolder(path, lock)
    kept = path.rename(_free_name(path))  # the lock goes with it, so that no process resumes it meanwhile
    lock = _locked(path)
    held.callback(os.close, lock)
    return RunFolder(path, lock, kept)


def _check_is_run(path: Path) -> None:
    """Raise UsageError if there is something at `path` that no run of gradwire has left."""
    if not os.path.lexists(path) or (path.is_dir() and not any(path.iterdir())):
        return
    if not any(os.path.lexists(path / sign) for sign in _SIGNS):
        raise UsageError(f"{path}: exists and is no run of gradwire; want another --name")


def _locked(path: Path) -> int:
    """Return the descriptor of the lock of `path`, made and acquired."""
    while True:
        make_folder(path)
        lock = open_descriptor(path / LOCK, os.O_CREAT | os.O_RDWR)
        try:
            _acquire(lock, path)
            if _is_lock_of(lock, path):
                with suppress(OSError):  # on a full disk no process is told which one holds it
                    os.ftruncate(lock, 0)
                    os.pwrite(lock, b"%d\n" % os.getpid(), 0)
                return lock
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)  # the folder was set aside meanwhile: the lock is that of the earlier run


def _acquire(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(
            f"{path}: another process{_holder(path)} is writing to it; want another --name, or that one to end first"
        ) from None


def _holder(path: Path) -> str:
    """Return the process that holds the lock of `path`, as part of a sentence; nothing where it is not known."""
    try:
        written = (path / LOCK).read_bytes()[:32].strip()
    except OSError:
        return ""
    return f" (pid {written.decode()})" if re.fullmatch(rb"\d{1,20}", written) else ""


def _is_lock_of(lock: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock), os.stat(path / LOCK, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _check_inherited(path: Path, lock: int) -> None:
    """Raise UsageError unless `lock` is the lock of `path`, held by the process that started this one."""
    if not _is_lock_of(lock, path):
        raise UsageError(f"{path}: got a lock of another folder from the process that started this one")
    _acquire(lock, path)


def _lock_linked_state(state: Path, held: ExitStack) -> None:
    """Keep others out of a state folder that is elsewhere, to which other runs may have links too."""
    if not os.path.lexists(state):
        return
    if not state.is_dir():
        raise UsageError(f"{state}: is no folder and no link to one; want either, or nothing there")
    if state.is_symlink():
        descriptor = os.open(state, os.O_RDONLY | os.O_DIRECTORY)
        held.callback(os.close, descriptor)
        _acquire(descriptor, state)


def _has_run(path: Path) -> bool:
    """Say whether a run has left anything at `path`; a lock or a state folder without a state is nothing."""
    return _has_state(path / STATE) or any(each.name not in (LOCK, STATE) for each in path.iterdir())


def _has_state(state: Path) -> bool:
    return state.is_dir() and any(is_state_file(each.name) for each in state.iterdir())


def _can_go_on(path: Path) -> bool:
    """Say whether a run can be resumed at `path`, or has no results that a new one would overwrite."""
    state = path / STATE
    if state.is_dir() and checkpoint_versions(state):
        return True
    metrics = path / METRICS
    empty = not metrics.exists() or metrics.stat().st_size == 0
    return empty and not os.path.lexists(path / WEIGHTS) and not _has_state(state)


def _free_name(path: Path) -> Path:
    """Return NAME.n with an n above all that are there, so that the highest number is the most recent."""
    pattern = re.compile(rf"{re.escape(path.name)}\.(\d{{1,9}})")
    numbers = [int(found[1]) for each in path.parent.iterdir() if (found := pattern.fullmatch(each.name))]
    return path.with_name(f"{path.name}.{max(numbers, default=0) + 1}")
