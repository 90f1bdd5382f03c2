"""A server that reports its processor time, memory and stacks: `python sampled_server.py CONFIG.toml REPORT.json`.

Prints its port once it listens, and the report at the end of the run: peak memory above the idle process, processor
time by kind of thread, and how often a stack was seen where, for anyone who wants to know what a round waits for.
"""

import json
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from fuzzing.memory import memory_of
from gradwire.local.lifeline import die_with_parent
from gradwire_common.settings.config import Config
from gradwire_server.app import serve

INTERVAL = 0.005  # seconds between looks at the stacks
CLOCK_EVERY = 20  # looks
NOTHING_TO_DO = {"select", "_worker", "wait", "get", "_wait_for_tstate_lock", "sample"}
KINDS = {"MainThread": "event loop", "gradwire-numbers": "numbers", "gradwire-disk": "disk"}


class Sampler(threading.Thread):
    """Looks at the stacks of the server's threads now and then.

    Attributes:
        seen: by kind of thread, how often each place was being executed.
        used: seconds of processor time of every thread by its kind and number, also of those that have ended.
        looks: how often it looked.
    """

    def __init__(self) -> None:
        super().__init__(name="sampler", daemon=True)
        self.seen: dict[str, Counter[str]] = {}
        self.used: dict[tuple[str, int], float] = {}
        self.looks = 0
        self.done = threading.Event()

    def run(self) -> None:
        """Look until told to stop."""
        while not self.done.wait(INTERVAL):
            self.sample()

    def sample(self) -> None:
        """Look once."""
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        if self.looks % CLOCK_EVERY == 0:
            self.read_clocks()
        self.looks += 1
        for ident, frame in sys._current_frames().items():
            kind = kind_of(names.get(ident, ""))
            if kind is not None and frame.f_code.co_name not in NOTHING_TO_DO:
                self.seen.setdefault(kind, Counter())[place_of(frame)] += 1

    def read_clocks(self) -> None:
        """Write down the threads' processor time."""
        for thread in threading.enumerate():
            if thread.ident is not None:
                seconds = time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
                self.used[kind_of(thread.name) or "others", thread.ident] = seconds

    def seconds(self) -> dict[str, float]:
        """Return processor time by kind of thread; "grpc" is that of the threads of its core."""
        self.read_clocks()
        seconds: Counter[str] = Counter()
        for (kind, _), used in self.used.items():
            seconds[kind] += used
        seconds["grpc"] = time.process_time() - sum(seconds.values())
        return dict(seconds)


def kind_of(name: str) -> str | None:
    """Return the kind of the thread of that name; None for those that are no part of the server's work."""
    return next((kind for start, kind in KINDS.items() if name.startswith(start)), None)


def place_of(frame: FrameType) -> str:
    """Return the innermost function, and the innermost of gradwire's own where that is another one."""
    inner = _named(frame)
    ours: FrameType | None = frame
    while ours is not None and "gradwire" not in _module(ours):
        ours = ours.f_back
    return inner if ours in (None, frame) else f"{_named(ours)} > {inner}"  # type: ignore[arg-type]


def _named(frame: FrameType) -> str:
    return f"{_module(frame).removeprefix('gradwire_')}.{frame.f_code.co_name}"


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "?"))


def main() -> None:
    """Serve, and report."""
    die_with_parent()
    config, report = Config.load(Path(sys.argv[1])), Path(sys.argv[2])
    sampler = Sampler()
    idle: dict[str, Any] = {}

    def ready(port: int) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins again
        idle.update(rss=memory_of("VmRSS"), seconds=sampler.seconds(), began=time.monotonic())
        sampler.start()
        print(port, flush=True)

    serve(config, ready=ready)
    sampler.done.set()
    sampler.join()
    used = sampler.seconds()
    report.write_text(
        json.dumps(
            {
                "idle_rss": idle["rss"],
                "peak_rss": memory_of("VmHWM"),
                "seconds": time.monotonic() - idle["began"],
                "cpu": {kind: used[kind] - idle["seconds"].get(kind, 0.0) for kind in used},
                "looks": sampler.looks,
                "stacks": {kind: places.most_common(40) for kind, places in sampler.seen.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
