"""The launchers that `gradwire launch --on NAME` starts nodes by: submitit, for Slurm and for trying it here, and Ray.

Each starts `gradwire launch` on every node; what it lacks in variables of its own, GRADWIRE_NODE, _NODES and _HEAD say.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from gradwire.exit_codes import MISUSED
from gradwire.local.cluster import private_folder
from gradwire.local.lifeline import PARENT
from gradwire.surroundings import HEAD, NODE, NODES
from gradwire.views.left import tell_end
from gradwire_common.errors import ClusterError, ConfigError, UsageError
from gradwire_common.settings.config import Config
from gradwire_common.settings.load import ENV_PREFIX

HERE = "127.0.0.1"
LONGEST_JOB = 7 * 24 * 60  # minutes, where --option timeout_min does not say: submitit's own are 5
SHARED_PARAMETERS = (  # of submitit, alike on all clusters; others are Slurm's own
    "timeout_min",
    "cpus_per_task",
    "mem_gb",
    "gpus_per_node",
    "tasks_per_node",
)
LOOK_SECONDS = 0.5
Outcome = tuple[str, int, str]  # which node, exit code, error line


def run_node(settings: str, variables: Mapping[str, str]) -> tuple[int, str]:
    """Run `gradwire launch` in a process of this node; return its exit code and error line.

    Args:
        settings: a TOML document.
        variables: added to the environment.
    """
    names = {ENV_PREFIX + name.upper() for name in Config.model_fields}  # they are in `settings` by now
    kept = {name: value for name, value in os.environ.items() if name not in names}
    environment = {**kept, **variables, PARENT: str(os.getpid()), "PYTHONUNBUFFERED": "1"}
    error = ""
    with private_folder() as folder:
        file = Path(folder) / "launch.toml"
        file.write_text(settings, "utf-8")
        with subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-P", "-m", "gradwire", "launch", "--config", str(file)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as node:
            for line in node.stdout or ():
                print(line.rstrip(), flush=True)
                if line.startswith("error: "):
                    error = line.removeprefix("error: ").strip()
    return node.returncode, error


def by_submitit(cluster: str) -> Callable[[Config, Mapping[str, str]], None]:
    """Return what runs the nodes as a job of `cluster`: slurm, or local for tasks of this machine."""

    def run(config: Config, options: Mapping[str, str]) -> None:
        submitit = _package("submitit", "slurm")
        folder = config.runs / f"{config.name}.jobs"
        size = {"tasks_per_node" if cluster == "local" else "nodes": config.workers}
        named = {key if key in SHARED_PARAMETERS else f"slurm_{key}": _value(text) for key, text in options.items()}
        try:
            executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
            executor.update_parameters(**{"name": config.name, "timeout_min": LONGEST_JOB, **named, **size})
            job = executor.submit(run_task, _settings_of(config), cluster == "local")
        except (RuntimeError, NameError, TypeError, ValueError) as error:
            raise ConfigError(f"launch on {cluster}: submitit says: {' '.join(str(error).split())}") from None
        print(f"job {job.job_id} of {config.workers} nodes; what they say: {folder}/{job.job_id}_*", flush=True)
        tasks = [job.task(index) for index in range(job.num_tasks)]

        def ended() -> Iterator[Outcome]:
            left = dict(enumerate(tasks))
            while left:
                time.sleep(LOOK_SECONDS)
                for index in [index for index, task in left.items() if task.done()]:
                    yield (f"node {index}", *_outcome_of(submitit, left.pop(index)))

        try:
            _check(ended())
        finally:
            with suppress(Exception):  # where it has ended
                job.cancel(check=False)
        tell_end(config.runs / config.name)

    return run


def on_ray(config: Config, options: Mapping[str, str]) -> None:
    """Run the nodes as actors of the Ray cluster that RAY_ADDRESS names, or of this machine; the first one here."""
    ray = _package("ray", "ray")
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    class Node:
        def host(self) -> str:
            return str(ray.util.get_node_ip_address())

        def run(self, settings: str, variables: dict[str, str]) -> tuple[int, str]:
            return run_node(settings, variables)

    ray.init(include_dashboard=False, logging_level="warning")
    try:
        wants = {"num_cpus": 1, **{key: _value(text) for key, text in options.items()}}
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        actor = ray.remote(Node)
        nodes = [
            actor.options(**{"scheduling_strategy": "SPREAD" if number else here, **wants}).remote()
            for number in range(config.workers)
        ]
        hosts = ray.get([node.host.remote() for node in nodes])
        head = hosts[0] if len(set(hosts)) > 1 else HERE
        places = [{NODE: str(n), NODES: str(len(nodes)), HEAD: head} for n in range(len(nodes))]
        settings = _settings_of(config)
        calls = {node.run.remote(settings, place): place[NODE] for node, place in zip(nodes, places, strict=True)}

        def ended() -> Iterator[Outcome]:
            left = list(calls)
            while left:
                done, left = ray.wait(left)
                yield from ((f"node {calls[each]}", *ray.get(each)) for each in done)

        _check(ended())
    except (ray.exceptions.RayError, TypeError, ValueError) as error:
        raise ClusterError(f"launch on ray: {' '.join(str(error).split())[:300]}") from None
    finally:
        ray.shutdown()
    tell_end(config.runs / config.name)


LAUNCHERS: Mapping[str, Callable[[Config, Mapping[str, str]], None]] = {
    "local": by_submitit("local"),
    "slurm": by_submitit("slurm"),
    "ray": on_ray,
}


def run_task(settings: str, local: bool) -> tuple[int, str]:
    """Run the node of a submitit task; Slurm's own variables say which it is."""
    from submitit import JobEnvironment

    task = JobEnvironment()
    place = {NODE: str(task.global_rank), NODES: str(task.num_tasks), HEAD: HERE}
    return run_node(settings, place if local else {})


def _outcome_of(submitit: Any, task: Any) -> tuple[int, str]:
    """Return what a task ended with, also where it was killed."""
    try:
        code, error = task.result()
    except submitit.core.utils.UncompletedJobError as failure:
        return 1, " ".join(str(failure).split())[:300]
    return code, error


def _check(ended: Iterator[Outcome]) -> None:
    """Wait for all nodes. Raises ClusterError, or UsageError where it was misused, at the first that has failed."""
    for node, code, error in ended:
        if code:
            kind = UsageError if code == MISUSED else ClusterError
            raise kind(f"{node}: {error or f'ended with exit code {code}'}")


def _settings_of(config: Config) -> str:
    """Return the settings as a node reads them, wherever it works."""
    absolute = {"runs": config.runs.resolve(), "certs": config.certs and config.certs.resolve()}
    return config.replaced(**absolute).to_toml(as_given=tuple(config.sections))


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def _package(name: str, extra: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise UsageError(f"launch: {name} cannot be imported ({error}); want pip install 'gradwire[{extra}]'") from None
