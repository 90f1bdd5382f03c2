"""Finds out whether a run can begin, before anything of an earlier one is moved."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gradwire.local.child import Child
from gradwire.local.cluster import SOCKET, environment_of, private_folder
from gradwire_common.settings.config import Config

SAMPLES = re.compile(r"^training samples: (\d+)$", re.MULTILINE)


@dataclass
class Checked:
    """What the check of a run found, once its context has been left.

    Attributes:
        training_samples: of the task.
    """

    training_samples: int = 0


def check_run(config: Config) -> None:
    """Print the number of training samples of a run that can begin.

    Raises what the server or a worker of `config` would be refused with, but for what only the other end can tell.

    Raises:
        UsageError: a setting, the device, task, model or data that cannot be.
    """
    from gradwire_server.checks import check_server
    from gradwire_worker.runner import check_worker

    check_server(config)
    print(f"training samples: {check_worker(config)}")


@contextmanager
def checked(config: Config) -> Iterator[Checked]:
    """Check a run in a process of its own, in which the user's task may do what it likes, while the body runs.

    What it yields is complete once the body has been left.

    Raises:
        UsageError: as `check_run` does.
        ClusterError: the process failed in another way.
    """
    with private_folder() as folder:
        file = Path(folder) / "config.toml"
        file.write_text(config.replaced(listen=f"unix:{folder}/{SOCKET}", certs=None, tokens=None).to_toml(), "utf-8")
        command, log = ["check", "--config", str(file)], Path(folder) / "check.log"
        found = Checked()
        child = Child("the check of the run", command, log, environment_of(config), log_kept=False)
        try:
            yield found
            child.process.wait()
            child.check()
            if told := SAMPLES.findall(child.said()):
                found.training_samples = int(told[-1])
        finally:
            child.process.terminate()
            child.stop(time.monotonic())
