"""The optimizer of a node's processes: they add their gradients, and process 0 alone is a member of the run."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from gradwire_common.errors import ModelMismatchError, RunEndedError, TaskError
from gradwire_common.transport.bounds import MAX_SAMPLES
from gradwire_worker.arguments import loss_number, whole_number
from gradwire_worker.node import NodeGroup
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.tasks import Indices

N_FACTS = 5  # numbers that process 0 tells the others of the run


class NodeOptimizer:
    """What a RemoteOptimizer is to one process, for all processes of a node.

    Attributes:
        process: number of this one in the node.
        remote: what takes part in the run, in process 0; None in the others.
    """

    def __init__(self, model: nn.Module, group: NodeGroup, join: Callable[[], RemoteOptimizer]):
        """Join the run, in process 0; load its weights in all.

        Args:
            model: the same in all processes.
            group: the processes.
            join: joins the run with `model`; called in process 0 alone.

        Raises:
            ModelMismatchError: the models have not as many entries.
            RunEndedError: the run has ended, in all processes.
            GradwireError: why the run cannot be joined.
        """
        self._group, self._model = group, model
        self._parameters = [each for each in model.parameters() if each.requires_grad]
        self._facts = torch.zeros(N_FACTS, dtype=torch.float64)
        self.process = group.place.process
        self.remote: RemoteOptimizer | None = None
        over: RunEndedError | None = None
        if group.place.leads:
            try:
                self.remote = join()
            except RunEndedError as error:
                over = error
        self._check_alike(over)
        self._share()

    def _check_alike(self, over: RunEndedError | None) -> None:
        tensors = self._tensors()
        own = torch.tensor([sum(each.numel() for each in tensors), len(tensors), over is not None])
        lead = own.clone()
        self._group.spread(lead)
        if lead[2]:
            raise over or RunEndedError("the run has ended")
        if not torch.equal(own, lead):
            raise ModelMismatchError(
                f"process {self.process} of this node has a model of {own[0]:,} entries in {own[1]} tensors, and "
                f"process 0 one of {lead[0]:,} in {lead[1]}; want the same model in all"
            )

    def part_of(self, shard: Indices) -> Indices:
        """Return this process' part of the node's shard. Raises TaskError where it is empty."""
        processes = self._group.place.processes
        if len(shard) < processes:
            raise TaskError(
                f"split: got {len(shard)} training samples for a node of {processes} processes, want one for each"
            )
        return shard[self.process :: processes]

    @property
    def version(self) -> int:
        """The version of the weights that the model holds."""
        return int(self._facts[0])

    @property
    def steps_taken(self) -> int:
        """How many steps a worker has taken by now that was there from the run's beginning."""
        return int(self._facts[1])

    @property
    def ended(self) -> bool:
        """Whether the run is over."""
        return bool(self._facts[2])

    @property
    def slot(self) -> int:
        """The node's shard."""
        return int(self._facts[3])

    @property
    def slots(self) -> int:
        """Of how many."""
        return int(self._facts[4])

    @property
    def resumed(self) -> int:
        """The round whose push was repeated from the worker's own checkpoint; 0 for none."""
        return 0 if self.remote is None else self.remote.resumed

    def evaluation_due(self) -> bool:
        """Whether the server wants an evaluation of the weights held; never in other processes than 0."""
        return self.remote is not None and self.remote.evaluation_due()

    def zero_grad(self) -> None:
        """Take the gradients away."""
        for parameter in self._parameters:
            parameter.grad = None
        if self.remote is not None:
            self.remote.zero_grad()

    @torch.no_grad()
    def step(self, *, samples: int, loss: float | torch.Tensor) -> None:
        """Add up the gradients of all processes, weighted by samples; step in process 0; load what it has then in all.

        Args:
            samples: that this process' gradients are the mean of.
            loss: their mean loss.

        Raises:
            RunEndedError: the run is over, in process 0; `ended` says so in the others.
            ClusterError: a process of the node has ended.
            GradwireError: as RemoteOptimizer.step says.
        """
        weight = whole_number("samples", samples, 1, MAX_SAMPLES)
        mean_loss = loss_number(loss)
        there = [0.0 if each.grad is None else 1.0 for each in self._parameters]
        counts = torch.tensor([float(weight), weight * mean_loss, *there], dtype=torch.float64)
        summed = torch.cat([weight * _gradient(each) for each in self._parameters])
        self._group.sum(counts)
        self._group.sum(summed)
        if self.remote is None:
            self._share()
            return
        total = float(counts[0])
        summed /= total
        parts = torch.split(summed, [each.numel() for each in self._parameters])
        for parameter, part, n in zip(self._parameters, parts, counts[2:].tolist(), strict=True):
            parameter.grad = part.view(parameter.shape).to(parameter) if n else None
        mean = float(counts[1]) / total
        try:
            self.remote.step(samples=int(total), loss=mean if math.isfinite(mean) else None)
        finally:
            if self.remote.ended:  # the others need not guess
                self._share()
        if not self.ended:
            self._share()

    def report(self, samples: float | torch.Tensor, /, **metrics: Any) -> None:
        """Report an evaluation, in process 0."""
        if self.remote is not None:
            self.remote.report(samples, **metrics)

    def _tensors(self) -> list[torch.Tensor]:
        """Return what the processes hold alike; modules may put other tensors in the place of buffers at any time."""
        return [*self._model.parameters(), *self._model.buffers()]

    def _share(self) -> None:
        """Let all processes know what process 0 knows, and hold its weights: all of it in one message."""
        remote = self.remote
        if remote is not None:
            told = (remote.version, remote.steps_taken, remote.ended, remote.slot, remote.slots)
            self._facts = torch.tensor(told, dtype=torch.float64)
        message = torch.cat([_bytes(each) for each in (self._facts, *self._tensors())])
        self._group.spread(message)
        if remote is None:
            start = 0
            for tensor in (self._facts, *self._tensors()):
                stop = start + tensor.numel() * tensor.element_size()
                tensor.data.copy_(message[start:stop].clone().view(tensor.dtype).view(tensor.shape))
                start = stop


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    """Return what a tensor holds, flat, uint8 on the CPU."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)


def _gradient(parameter: nn.Parameter) -> torch.Tensor:
    """Return a parameter's gradient, flat, float32 on the CPU; zeros where there is none."""
    gradient = parameter.grad
    if gradient is None:
        return torch.zeros(parameter.numel())
    return (gradient.to_dense() if gradient.is_sparse else gradient).detach().float().cpu().reshape(-1)
