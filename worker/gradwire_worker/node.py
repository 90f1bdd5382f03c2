"""The processes of one node as one worker: gradients are summed inside of it, and pushed once.

The links inside of a node are wide, those to the server thin. So the processes add their gradients by torch.distributed
(gloo), process 0 alone is a member of the run, and its weights go back to the others after every step.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import torch
from torch import distributed
from torch._C._distributed_c10d import PrefixStore, TCPStore

from gradwire_common.errors import ClusterError
from gradwire_worker.interrupts import HELD, done_apart

START_SECONDS = 300.0  # for all processes of a node to load and to compile their kernels
WAIT_SECONDS = 7 * 86400.0  # for process 0 to come back from a round; one that ends is noticed at once


@dataclass(frozen=True)
class NodePlace:
    """The place of a process in its node.

    Attributes:
        process, processes: its number from 0, and how many there are, at least 2.
        node: number of the node, which keeps nodes apart that meet at one place.
        host, port: where they meet.
        hosted: whether the launcher has a store of torch.distributed there; else process 0 opens one.
    """

    process: int
    processes: int
    node: int
    host: str
    port: int
    hosted: bool

    @property
    def leads(self) -> bool:
        """Whether this is the process that speaks to the server."""
        return self.process == 0


class NodeGroup:
    """The processes of a node, met; a context that ends the group.

    Raises:
        ClusterError: one of them has ended or never came.
    """

    def __init__(self, place: NodePlace):
        self.place = place
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # nothing of it leaves the machine
        self._together(self._meet)

    def _meet(self) -> None:
        place, seconds = self.place, timedelta(seconds=START_SECONDS)
        opens = place.leads and not place.hosted
        store = TCPStore(place.host, place.port, None, opens, seconds, wait_for_workers=False)
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        distributed.init_process_group(
            "gloo",
            store=PrefixStore(f"gradwire/{place.node}/{attempt}", store),
            rank=place.process,
            world_size=place.processes,
            timeout=timedelta(seconds=WAIT_SECONDS),
        )

    def sum(self, values: torch.Tensor) -> None:
        """Add `values` of all processes, float32 or float64 on the CPU, into process 0's; the others' are spoiled."""
        self._together(lambda: distributed.reduce(values, 0))

    def spread(self, values: torch.Tensor) -> None:
        """Give all processes the `values` of process 0."""
        self._together(lambda: distributed.broadcast(values, 0))

    def told(self, ask: Callable[[], dict[str, str]]) -> dict[str, str]:
        """Return in all processes what `ask` returns in process 0, where alone it is called."""
        text = json.dumps(ask()).encode() if self.place.leads else b""
        length = torch.tensor([len(text)])
        self.spread(length)
        message = torch.frombuffer(bytearray(text.ljust(int(length))), dtype=torch.uint8)
        self.spread(message)
        answer: dict[str, str] = json.loads(message.numpy().tobytes())
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if distributed.is_initialized():
            distributed.destroy_process_group()

    def _together(self, work: Callable[[], Any]) -> None:
        """Do what takes all processes; a signal's handler may raise meanwhile. Say in one line that another is gone."""
        try:
            with HELD:
                done_apart(work)
        except RuntimeError as error:
            own, of = self.place.process, self.place.processes
            others = "process 0" if own else "another process" if of > 2 else "process 1"
            raise ClusterError(
                f"process {own} of the {of} of this node ends, since {others} has ended or cannot be reached; its own "
                f"error line says why ({str(error).splitlines()[0][:200]})"
            ) from None
