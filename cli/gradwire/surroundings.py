"""What a launcher says of a process that it started: which node of how many, which process of the node, who is first.

One table: a line for each launcher, a column for each fact, the variable that has it. Of several launchers, one inside
of another, each fact is the innermost one's that knows it. A launcher of a single node does not know which node of a
run this is.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradwire_common.errors import ConfigError
from gradwire_common.foreign_text import printable

if TYPE_CHECKING:
    from gradwire_common.settings.config import Config
    from gradwire_worker.node import NodePlace

Variables = Mapping[str, str]
MAX_NODES = 2**16  # as many as there are slots
NODE, NODES, HEAD = "GRADWIRE_NODE", "GRADWIRE_NODES", "GRADWIRE_HEAD"  # for launchers that are not in the table


@dataclass(frozen=True)
class Launcher:
    """A line of the table: the variables that a launcher sets, empty where it has none for a fact.

    Attributes:
        name: as its users know it.
        mark: is set in each process that it starts, and in no other.
        node, nodes: number of this node from 0, and of how many.
        process, processes: number of this process of the node from 0, and of how many.
        head: says which host is the first node's.
        first: returns that host from what `head` says.
        shared: says where the processes of a node can meet; HOST and PORT.
        job: its number is this launcher's alone on this machine; where `shared` is empty.
    """

    name: str
    mark: str
    node: str
    nodes: str = ""
    process: str = ""
    processes: str = ""
    head: str = ""
    first: Callable[[str], str] = str.strip
    shared: tuple[str, ...] = ()
    job: str = ""


def first_line(text: str) -> str:
    """Return the first of several hosts, a line each."""
    return text.split()[0] if text.split() else ""


def first_host(text: str) -> str:
    """Return the first host of a Slurm list such as "gpu[03-05,09],login": gpu03."""
    found = re.match(r"([^,\[\]]+)(?:\[(\d+)[^\]]*\]([^,\[\]]*))?", text.strip())
    return "".join(filter(None, found.groups())) if found else ""


LAUNCHERS = (
    Launcher("GRADWIRE_NODE", NODE, NODE, NODES, head=HEAD),
    Launcher(
        "torchrun",
        "TORCHELASTIC_RUN_ID",
        "GROUP_RANK",
        "GROUP_WORLD_SIZE",
        "LOCAL_RANK",
        "LOCAL_WORLD_SIZE",
        "MASTER_ADDR",
        shared=("MASTER_ADDR", "MASTER_PORT"),
    ),
    Launcher(
        "Slurm",
        "SLURM_STEP_ID",  # of srun: the batch script has none
        "SLURM_NODEID",
        "SLURM_STEP_NUM_NODES",
        "SLURM_LOCALID",
        "SLURM_STEP_TASKS_PER_NODE",
        "SLURM_STEP_NODELIST",
        first_host,
        job="SLURM_JOB_ID",
    ),
    Launcher(
        "SkyPilot",
        "SKYPILOT_NODE_RANK",
        "SKYPILOT_NODE_RANK",
        "SKYPILOT_NUM_NODES",
        head="SKYPILOT_NODE_IPS",
        first=first_line,
    ),
    Launcher("Kubernetes", "JOB_COMPLETION_INDEX", "JOB_COMPLETION_INDEX"),  # of JobSets and indexed Jobs
)
MARKS = tuple(each.mark for each in LAUNCHERS)


@dataclass(frozen=True)
class Surroundings:
    """What is known of this process; all defaults where no launcher started it.

    Attributes:
        launchers: the names of those that started it, the innermost first.
        node: number of this node, None where nobody knows it.
        nodes: how many there are, None where nobody knows it.
        process, processes: number of this process of the node, and how many the node has.
        head: host of the first node; empty where nobody knows it.
        meeting: host and port where the processes of the node meet; None where they are one.
        hosted: whether the launcher has something at `meeting` already.
    """

    launchers: tuple[str, ...] = ()
    node: int | None = None
    nodes: int | None = None
    process: int = 0
    processes: int = 1
    head: str = ""
    meeting: tuple[str, int] | None = None
    hosted: bool = False

    @property
    def first(self) -> bool:
        """Whether this is the first process of the first node, which a run has once."""
        return not self.node and not self.process

    @property
    def place(self) -> "NodePlace | None":
        """This process' place among those of its node; None where it is alone."""
        from gradwire_worker.node import NodePlace

        if self.meeting is None:
            return None
        return NodePlace(self.process, self.processes, self.node or 0, *self.meeting, hosted=self.hosted)


def read_surroundings(variables: Variables = os.environ) -> Surroundings:
    """Return what the launchers of the table say by `variables`.

    Raises:
        ConfigError: a variable is not what its launcher sets; names it.
    """
    active = [each for each in LAUNCHERS if each.mark in variables]
    facts: dict[str, Any] = {}
    for launcher in reversed(active):  # the innermost last, so that it wins
        facts |= _among_nodes(launcher, variables) | _in_node(launcher, variables)
    return Surroundings(tuple(each.name for each in active), **facts)


def _among_nodes(launcher: Launcher, variables: Variables) -> dict[str, Any]:
    nodes = _number(launcher, launcher.nodes, variables, 1, MAX_NODES) if launcher.nodes else None
    if nodes == 1 and launcher.mark != NODE:
        return {}
    facts = {"node": _number(launcher, launcher.node, variables, 0, (nodes or MAX_NODES) - 1), "nodes": nodes}
    head = launcher.first(variables.get(launcher.head, "")) if launcher.head else ""
    return facts | ({"head": head} if head else {})


def _in_node(launcher: Launcher, variables: Variables) -> dict[str, Any]:
    if not launcher.processes:
        return {}
    processes = _number(launcher, launcher.processes, variables, 1, MAX_NODES)
    if processes == 1:
        return {}
    process = _number(launcher, launcher.process, variables, 0, processes - 1)
    if launcher.shared:
        host, port = launcher.shared
        meeting = variables.get(host, ""), _number(launcher, port, variables, 1, 65535)
    else:
        meeting = "127.0.0.1", 20_000 + _number(launcher, launcher.job, variables, 0, 2**63) % 40_000
    return {
        "process": process,
        "processes": processes,
        "meeting": meeting,
        "hosted": bool(launcher.shared),
    }


def _number(launcher: Launcher, name: str, variables: Variables, low: int, high: int) -> int:
    """Return the whole number of a variable; of Slurm's "4(x2),3" the one of this node."""
    text = variables.get(name, "")
    if launcher.processes == name and re.fullmatch(r"\d+(\(x\d+\))?(,\d+(\(x\d+\))?)*", text):
        counts = [(int(each.group(1)), int(each.group(2) or 1)) for each in re.finditer(r"(\d+)(?:\(x(\d+)\))?", text)]
        before = _number(launcher, launcher.node, variables, 0, MAX_NODES - 1)
        for count, times in counts:
            if before < times:
                text = str(count)
                break
            before -= times
    if not re.fullmatch(r"[0-9]{1,18}", text) or not low <= int(text) <= high:
        raise ConfigError(
            f"environment: {name}: got {printable(text[:80])!r} from {launcher.name}, want a whole number from {low} "
            f"to {high}; without the variable {launcher.mark} nothing is read of {launcher.name}"
        )
    return int(text)


def worker_settings(config: "Config", around: Surroundings) -> "Config":
    """Return the settings of a worker, those that were not given taken from its launcher: server, slot, id.

    The id of a worker with a certificate or a token is in there.
    """
    found: dict[str, Any] = {}
    if around.head:
        found["server"] = around.head
    if around.node is not None:
        found["slot"] = around.node
        if config.certs is None and config.token_file is None:
            found["worker_id"] = f"worker-{around.node}"
    return _completed(config, found)


def server_settings(config: "Config", around: Surroundings) -> "Config":
    """Return the settings of a server; it expects a worker of every node where that was not given."""
    return _completed(config, {} if around.nodes is None else {"workers": around.nodes})


def _completed(config: "Config", found: dict[str, Any]) -> "Config":
    missing = {name: value for name, value in found.items() if name not in config.model_fields_set}
    return config.replaced(**missing) if missing else config
