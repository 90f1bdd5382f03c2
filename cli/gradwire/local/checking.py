"""Finds out whether a run can begin, before anything of an earlier one is moved."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradwire.local.cluster import SOCKET, Child, environment_of, private_folder
from gradwire_common.settings.config import Config


def check_run(config: Config) -> None:
    """Raise what the server or a worker of `config` would be refused with, but for what only the other end can tell.

    Raises:
        UsageError: a setting, the device, task, model or data that cannot be.
    """
    from gradwire_server.checks import check_server
    from gradwire_worker.runner import check_worker

    check_server(config)
    check_worker(config)


@contextmanager
def checked(config: Config) -> Iterator[None]:
    """Check a run in a process of its own, in which the user's task may do what it likes, while the body runs.

    Raises:
        UsageError: as `check_run` does.
        ClusterError: the process failed in another way.
    """
    with private_folder() as folder:
        file = Path(folder) / "config.toml"
        file.write_text(config.replaced(listen=f"unix:{folder}/{SOCKET}", certs=None, tokens=None).to_toml(), "utf-8")
        command, log = ["check", "--config", str(file)], Path(folder) / "check.log"
        child = Child("the check of the run", command, log, environment_of(config), log_kept=False)
        try:
            yield
            child.process.wait()
            child.check()
        finally:
            child.process.terminate()
            child.stop(time.monotonic())
