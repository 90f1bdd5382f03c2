"""What docs/deploy.md promises of docker-compose.yml, against a real engine: `make compose-test`."""

import sys
import time
from collections.abc import Callable
from functools import cached_property

from stack import Stack, eventually, has_engine

ROUNDS = 120
ACCURACY = 0.9  # that these rounds reach at least
QUICK_SECONDS = 15.0  # that a stop takes at most, whenever it comes
SLOW = {"GRADWIRE_RATE_UP": "0.4 Mbit/s", "GRADWIRE_BURST": "40 KiB"}  # a run that is in its middle for a minute


class Scenarios:
    """Each public method is one, in this order; it may find what the one before has left, or nothing."""

    def __init__(self, stack: Stack):
        self.stack = stack

    @cached_property
    def _undisturbed(self) -> tuple[float, str]:
        """Accuracy and weights of a run that nothing disturbed, which is there, finished, once this is asked for."""
        self.stack.clear()
        self.said = self.stack.up()
        return self.stack.results()

    def the_image_has_torch_for_processors_and_no_health_check_of_its_own(self) -> None:
        self.stack.compose("build")
        version = "import torch; print('cuda is', torch.version.cuda)"
        assert "cuda is None" in self.stack.asked("python", "-c", version)
        assert '"Healthcheck"' not in self.stack.run("inspect", "gradwire")

    def an_up_trains_and_says_what_it_came_to_and_where_that_is(self) -> None:
        assert self._undisturbed[0] > ACCURACY, self._undisturbed
        assert "waiting for 2 of 2 workers to join" in self.said, self.said
        assert f"the run came to round {ROUNDS}, test accuracy 9" in self.said, self.said
        assert "left in runs/compose; the weights: gradwire.load_weights" in self.said, self.said
        assert set(self.stack.codes().values()) == {0}, self.stack.codes()

    def an_up_of_a_finished_run_says_so_ends_and_keeps_it(self) -> None:
        before = self._undisturbed
        for _ in range(2):
            said = self.stack.up()
            assert f"run 'compose' is finished: all of its {ROUNDS} rounds are done" in said, said
            assert f"the run ended at version {ROUNDS}" in said, said
            assert set(self.stack.codes().values()) == {0}, said
            assert self.stack.results() == before
        self.stack.compose("down")  # its workers come back under other host names
        assert "is finished" in self.stack.up()
        assert self.stack.asked("ls", "runs").split()[-1] == "compose"

    def other_settings_are_refused_and_the_earlier_run_is_kept_when_another_is_wanted(self) -> None:
        before = self._undisturbed
        said = self.stack.up(code=None, GRADWIRE_BITS="3.0")
        assert "settings differ from those of the run to resume: downlink bits: got 3.0, want 2.0" in said, said
        self.stack.up(GRADWIRE_BITS="3.0", GRADWIRE_RESUME="false", GRADWIRE_ROUNDS=10)
        assert self.stack.results("compose.1") == before
        assert self.stack.results()[1] != before[1]

    def what_is_killed_or_stopped_resumes_and_ends_with_the_same_weights(self) -> None:
        undisturbed = self._undisturbed
        self.stack.clear()
        self.stack.compose("up", "--detach", **SLOW)
        self.stack.wait_for_round(10)
        self.stack.kill("worker", 2)
        self.stack.wait_for_round(30)
        self.stack.kill("server")
        self.stack.wait_for_round(50)
        self.stack.compose("stop")
        codes = self.stack.codes()
        assert codes.pop("server-1") == 0, codes
        assert set(codes.values()) <= {0, 130}, codes
        assert "left: interrupted" in self.stack.compose("logs", "server")
        assert "KeyboardInterrupt" not in self.stack.compose("logs")
        self.stack.compose("up", "--detach")  # without the limit, so in other containers
        eventually(self.stack.ended, "the run ends")
        assert set(self.stack.codes().values()) == {0}, self.stack.compose("logs")
        assert self.stack.results() == undisturbed

    def a_stop_takes_effect_while_containers_start(self) -> None:
        for seconds in (0.0, 0.3, 2.0):
            self.stack.clear()
            self.stack.compose("up", "--detach", "server")
            time.sleep(seconds)
            began = time.monotonic()
            self.stack.compose("stop")
            assert time.monotonic() - began < QUICK_SECONDS
            assert self.stack.codes()["server-1"] in (0, 130, 143), self.stack.codes()

    def a_run_waits_aloud_for_the_workers_that_are_missing_and_takes_more_of_them(self) -> None:
        self.stack.clear()
        self.stack.compose("up", "--detach", "--scale", "worker=1")
        eventually(lambda: self.stack.status().get("waiting_for") == "1 of 2 workers to join", "the status says so")
        eventually(lambda: "waiting for 1 of 2 workers to join" in self.stack.compose("logs", "server"), "the log too")
        self.stack.compose("up", "--detach", "--scale", "worker=3", **SLOW)
        eventually(lambda: self.stack.status().get("workers_alive") == 3, "three workers take part")
        eventually(self.stack.ended, "the run ends")
        assert set(self.stack.codes().values()) == {0}, self.stack.compose("logs")
        assert self.stack.results()[0] > ACCURACY
        replicas = self.stack.compose("config", GRADWIRE_WORKERS=5)
        assert "replicas: 5" in replicas, replicas

    def settings_of_the_shell_reach_server_and_workers(self) -> None:
        self.stack.clear()
        said = self.stack.up(
            GRADWIRE_ROUNDS=10, GRADWIRE_WORKERS=1, GRADWIRE_LR=0.04, GRADWIRE_BATCH_SIZE=32, GRADWIRE_LOG_LEVEL="debug"
        )
        assert "DEBUG" in said
        kept = self.stack.asked("cat", "runs/compose/config.toml")
        assert all(line in kept for line in ("lr = 0.04", "batch_size = 32", "workers = 1")), kept

    def a_read_only_root_and_another_user_are_no_hindrance(self) -> None:
        options = ("--rm", "--init", "--read-only", "--user", "12345", "--tmpfs", "/out:uid=12345")
        said = self.stack.run(
            "run", *options, "gradwire", "train", "--runs", "/out", "--rounds", "10", "--workers", "1"
        )
        assert "left in /out/run" in said, said
        assert "Traceback" not in said, said
        refused = self.stack.run("run", *options[:-2], "gradwire", "server", "--listen", "127.0.0.1", code=2)
        assert refused.splitlines()[-1].startswith("error: runs/run: Read-only file system"), refused

    def the_profile_tls_makes_certificates_and_lets_nobody_call_without(self) -> None:
        undisturbed = self._undisturbed
        self.stack.clear()
        self.stack.compose("--profile", "tls", "up", "--detach", **SLOW)
        eventually(lambda: "joined run" in self.stack.compose("logs", "worker"), "a worker joins")
        without = self.stack.inside("server", "gradwire", "status", "127.0.0.1", code=2)
        assert "speaks TLS: want --certs DIR" in without, without
        assert "2 alive" in self.stack.inside("server", "gradwire", "status", "127.0.0.1", "--certs", "certs/admin")
        kits = self.stack.inside("worker", "find", "certs", "-name", "*key.pem")
        assert "certs/worker-1/key.pem" in kits, kits
        assert "ca-key.pem" not in kits, kits
        eventually(self.stack.ended, "the run ends")
        assert set(self.stack.codes().values()) == {0}, self.stack.compose("logs")
        assert self.stack.results() == undisturbed
        assert "is finished" in self.stack.up()  # the certificates are used without the profile too

    def the_profile_monitoring_has_the_metrics_of_the_run(self) -> None:
        image = next(
            line.split()[-1]
            for line in self.stack.compose("--profile", "monitoring", "config").splitlines()
            if "image: prom/" in line
        )
        if "Error" in self.stack.run("image", "inspect", image, code=None) and not self._pulled(image):
            print(f"    skipped: {image} is not here and cannot be pulled")
            return
        self.stack.clear()
        self.stack.compose("--profile", "monitoring", "up", "--detach", **SLOW)
        query = "http://prometheus:9090/api/v1/query?query=gradwire_version"
        ask = f"import urllib.request as u; print(u.urlopen({query!r}).read().decode())"
        eventually(
            lambda: '"job":"gradwire"' in self.stack.inside("server", "python", "-c", ask, code=None), "it scrapes"
        )

    def _pulled(self, image: str) -> bool:
        return "Downloaded newer" in self.stack.run("pull", image, code=None)


def main() -> int:
    """Play all scenarios, or those that are named; return the exit code."""
    if not has_engine():
        print("compose-test: skipped, since there is no Docker engine with compose here")
        return 0
    stack = Stack(GRADWIRE_ROUNDS=ROUNDS, GRADWIRE_LR=0.05, GRADWIRE_QUORUM="all")
    scenarios = Scenarios(stack)
    names = sys.argv[1:] or [name for name in vars(Scenarios) if not name.startswith("_")]
    try:
        for name in names:
            began = time.monotonic()
            scenario: Callable[[], None] = getattr(scenarios, name)
            scenario()
            print(f"{time.monotonic() - began:6.0f} s  {name.replace('_', ' ')}", flush=True)
    finally:
        stack.clear()
    return 0


if __name__ == "__main__":
    sys.exit(main())
