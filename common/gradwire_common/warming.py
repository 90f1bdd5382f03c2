"""Compiling or loading every kernel before anything waits for it."""

import fcntl
import json
import os
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

import numpy as np

from gradwire_common.codec.frames import warm_up
from gradwire_common.layout.manifest import Layout, TensorSpec
from gradwire_common.methods.entropy import Entropy
from gradwire_common.methods.method import EncodeReport, Method
from gradwire_common.methods.registry import build_method
from gradwire_common.methods.update import add_update
from gradwire_common.private_files import open_file

ENTRIES = 16384  # of the rehearsal; enough for every path of fit and coder that depends on size


@cache
def warm_kernels() -> float:
    """Make sure that no step of a run compiles anything; return the seconds it took the first time in this process.

    One process of a user and installation compiles at a time: the others wait, and load what it has left in numba's
    cache.
    """
    began = time.perf_counter()
    with _one_at_a_time():
        warm_up()
    warm_method(Entropy())
    return time.perf_counter() - began


def warm_method(method: Method) -> None:
    """Likewise for what else `method` needs."""
    _rehearse(method.name, json.dumps(method.options, sort_keys=True))


@cache
def _rehearse(name: str, options: str) -> None:
    """Encode an update by a method and add it up, once in this process."""
    method = build_method(name, json.loads(options))
    layout = Layout([TensorSpec("rehearsal", (ENTRIES,))])
    values = np.random.default_rng(0).laplace(size=ENTRIES).astype(np.float32)
    with _one_at_a_time():
        frames = b"".join(method.encoder(layout, np.zeros_like(values)).encode(values, EncodeReport()))
        add_update(frames, layout.parameters, 1.0, values, method)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Hold a lock that all processes of this user and installation share; the system frees it if its holder dies."""
    installation = zlib.crc32(bytes(Path(__file__)))
    with ExitStack() as held:
        with suppress(OSError):  # another's file is there, or no folder for it: compiling twice at once does no harm
            path = Path(tempfile.gettempdir()) / f"gradwire-kernels-{os.getuid()}-{installation:08x}.lock"
            lock = held.enter_context(open_file(path, "w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
