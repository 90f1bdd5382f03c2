"""docker-compose.yml under a name of its own, and what its containers say. Python's own library alone is needed."""

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).parents[2]
SECONDS = 900  # for one command; an image may be made in it
T = TypeVar("T")

KILL = """
import os, signal
for pid in filter(str.isdigit, os.listdir("/proc")):
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        if file.read().split(b"\\0")[2:3] == [b"%s"]:
            os.kill(int(pid), signal.SIGKILL)
"""  # the gradwire server or worker of a container, as the kernel does where memory runs out


def has_engine() -> bool:
    """Say whether there is a Docker engine with compose."""
    try:
        return all(
            subprocess.run(["docker", *each], capture_output=True).returncode == 0
            for each in (["info"], ["compose", "version"])
        )
    except OSError:
        return False


def eventually(read: Callable[[], T], what: str, seconds: float = 240.0) -> T:
    """Return what `read` gives once it is true; fail where it is not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not (got := read()):
        assert time.monotonic() < deadline, f"{what}: still {got!r} after {seconds:g} s"
        time.sleep(0.5)
    return got


class Stack:
    """The project, with settings that each call may change; `clear` removes its containers and volumes."""

    def __init__(self, **settings: object):
        self.project = f"gradwire-test-{os.getpid()}"
        self.settings = {"COMPOSE_PROJECT_NAME": self.project, "GRADWIRE_PORT": "0", "PROMETHEUS_PORT": "0"}
        self.settings |= {name: str(value) for name, value in settings.items()}

    def run(self, *arguments: str, code: int | None = 0, **settings: object) -> str:
        """Run `docker ARGUMENTS` to its end; return what it says, both streams together."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("GRADWIRE_", "COMPOSE_"))}
        own |= self.settings | {name: str(value) for name, value in settings.items()}
        command = ["docker", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS
        )
        assert code in (None, done.returncode), f"{command} ended with {done.returncode}:\n{done.stdout[-6000:]}"
        return done.stdout

    def compose(self, *arguments: str, **options: Any) -> str:
        """Run `docker compose ARGUMENTS`, as `run` does."""
        return self.run("compose", "--ansi", "never", *arguments, **options)

    def up(self, *arguments: str, **settings: object) -> str:
        """Bring the project up and wait for its containers to end; return their logs since then."""
        return self.compose("up", "--no-color", *arguments, **settings)

    def inside(self, service: str, *command: str, **options: Any) -> str:
        """Run a command in a container of a service that is up."""
        return self.compose("exec", "-T", service, *command, **options)

    def asked(self, *command: str) -> str:
        """Run a command in a container of the server's own, which may be down: it sees the volumes."""
        return self.compose("run", "--rm", "-T", "--no-deps", "--entrypoint", command[0], "server", *command[1:])

    def containers(self) -> dict[str, dict[str, Any]]:
        """Return what the engine knows of each container, by its name without the project's."""
        names = self.compose("ps", "-aq").split()
        told = json.loads(self.run("inspect", *names)) if names else []
        return {each["Name"].removeprefix(f"/{self.project}-"): each for each in told}

    def codes(self) -> dict[str, int]:
        """Return the exit codes of the containers, all of which have ended."""
        states = {name: each["State"] for name, each in self.containers().items()}
        assert all(each["Status"] == "exited" for each in states.values()), states
        return {name: each["ExitCode"] for name, each in states.items()}

    def ended(self) -> bool:
        """Say whether all containers have ended for good."""
        return all(each["State"]["Status"] == "exited" for each in self.containers().values())

    def status(self) -> dict[str, Any]:
        """Return the run's status; nothing while its server does not answer."""
        said = self.inside("server", "gradwire", "status", "127.0.0.1", "--format", "json", code=None)
        try:
            return dict(json.loads(said[said.index("{") :]))
        except ValueError:
            return {}

    def wait_for_round(self, round_: int) -> None:
        """Wait until the run has come to a round."""
        eventually(lambda: self.status().get("round", 0) >= round_, f"round {round_}")

    def kill(self, service: str, index: int = 1) -> None:
        """Kill the process of a container; wait until the engine has started it again."""
        name = f"{service}-{index}"
        before = self.containers()[name]["RestartCount"]
        self.compose("exec", "-T", "--index", str(index), service, "python", "-c", KILL % service, code=None)
        eventually(lambda: self.containers()[name]["RestartCount"] > before, f"{name} is started again")

    def results(self, name: str = "compose") -> tuple[float, str]:
        """Return the accuracy of a run and the SHA-256 of its weights; check that its book has each round once."""
        lines = [
            json.loads(line) for line in self.asked("cat", f"runs/{name}/metrics.jsonl").splitlines() if line[:1] == "{"
        ]
        rounds = [line["round"] for line in lines if line["kind"] == "round"]
        assert rounds == list(range(1, len(rounds) + 1)), rounds
        evaluated = [line for line in lines if line["kind"] == "evaluation"][-1]
        assert evaluated["version"] == rounds[-1], evaluated
        digest = self.asked("sha256sum", f"runs/{name}/weights.safetensors").split()[-2]
        assert len(digest) == len(hashlib.sha256().hexdigest()), digest
        return evaluated["metrics"]["accuracy"]["mean"], digest

    def clear(self) -> None:
        """Remove the containers, networks and volumes."""
        self.compose("--profile", "tls", "--profile", "monitoring", "down", "--volumes", "--timeout", "2", code=None)
