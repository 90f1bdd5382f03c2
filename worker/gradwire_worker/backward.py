"""Encoding during the backward pass: each unit once its gradients are there, while autograd computes the others.

gradient accumulated -> hook -> a thread of its own: residual, fit, quantise, encode -> step() takes the frame
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import torch

from gradwire_common.errors import UsageError
from gradwire_common.manifest import Role, Unit
from gradwire_common.update import EncodeReport
from gradwire_worker.gradients import FlatModel
from gradwire_worker.uplink import Uplink


@dataclass(frozen=True, slots=True)
class _Seen:
    """A parameter's gradient, and torch's count of its changes, when it had been accumulated."""

    parameter: torch.Tensor
    gradient: torch.Tensor
    changes: int


@dataclass
class _Pass:
    """What was seen and begun since the last step."""

    seen: dict[str, _Seen] = field(default_factory=dict)
    begun: "dict[Unit, Future[bytes]]" = field(default_factory=dict)
    report: EncodeReport = field(default_factory=EncodeReport)  # written by the encoding thread


class BackwardEncoder:
    """Encodes units of parameters while the backward pass goes on.

    A gradient must not change between its accumulation and step(): `frames` compares torch's count of changes. The
    common step size of the uniform quantiser is that which the entries of the round before would have needed; so the
    first round is encoded in step(), as without overlap.

    Args:
        flat: the model.
        uplink: what is coded and how, by fixed bits and no transform. Its residual memory is exchanged for the new one
            once all frames are made.
    """

    def __init__(self, flat: FlatModel, uplink: Uplink):
        self._flat = flat
        self._uplink = uplink
        self._lost = flat.new_vector(uplink.layout.n_parameters)
        self._pass = _Pass()
        self._first = not uplink.step_size  # one that is resumed has it
        self._planned: Future[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gradwire-encode")
        units = {spec.name: unit for unit in uplink.layout.parameters for spec in unit.tensors}
        self._hooks = [
            parameter.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
                self._hook(name, units[spec.name])
            )
            for spec in uplink.layout.order
            if spec.role is Role.PARAMETER
            for name, parameter in flat.in_memory_of(spec.name).items()
            if parameter.requires_grad
        ]

    def frames(self, report: EncodeReport, *, with_buffers: bool) -> Iterator[bytes]:
        """Yield the frames of a push; all of those of parameters are made before the first is yielded.

        Args:
            report: filled in.
            with_buffers: whether the frames of the buffers, which stand in the uplink's entries, follow.

        Raises:
            UsageError: a gradient changed after it was encoded; names its parameter.
            NonFiniteError: an entry is not finite; names its tensor. In both cases the residual is as it was.
        """
        done, self._pass = self._pass, _Pass()
        _wait_for(done)  # none goes on encoding when something is refused
        self.settle()
        self._flat.check_frozen()
        if self._first:
            self._flat.read_gradients(self._uplink.entries)
            self._uplink.prepare()
            yield from self._uplink.encode(0, 0, report, with_buffers=with_buffers)
            self._first = False
            return
        self._check_unchanged(done)
        parameters = self._uplink.layout.parameters
        for unit in parameters:
            if unit not in done.begun:
                gradients = [
                    [parameter.grad for parameter in self._flat.in_memory_of(spec.name).values()]
                    for spec in unit.tensors
                ]
                done.begun[unit] = self._thread.submit(self._encode, done.report, unit, gradients, None)
        frames = [done.begun[unit].result() for unit in parameters]
        memory = self._uplink.memory
        memory.values, self._lost = self._lost, memory.values
        self._planned = self._thread.submit(self._uplink.plan, done.report.fits_of(parameters))
        report.take(done.report)
        yield from frames
        if with_buffers:
            yield from self._uplink.encode_buffers(report)

    def settle(self) -> None:
        """Wait until the step size of the next push is known."""
        if self._planned is not None:
            self._planned.result()

    def discard(self) -> None:
        """Make the frames begun since the last push anew in `frames`: the residual that they began with changes."""
        _wait_for(self._pass)
        self._pass = _Pass(self._pass.seen)

    def close(self) -> None:
        """Take the hooks away and end the thread."""
        for hook in self._hooks:
            hook.remove()
        self._thread.shutdown()

    def _hook(self, name: str, unit: Unit) -> Callable[[torch.Tensor], None]:
        parts = [self._flat.in_memory_of(spec.name) for spec in unit.tensors]
        trained = [[each for each, parameter in tied.items() if parameter.requires_grad] for tied in parts]

        def accumulated(parameter: torch.Tensor) -> None:
            now, gradient = self._pass, parameter.grad
            if gradient is None or self._first:
                return
            if name in now.seen:
                raise UsageError(
                    f"{name}: got a second gradient before step(), but the first was encoded during backward; "
                    "want one backward pass for every step, or overlap=False"
                )
            now.seen[name] = _Seen(parameter, gradient, gradient._version)
            if all(each in now.seen for names in trained for each in names):
                gradients = [[now.seen[each].gradient for each in names] for names in trained]
                event = torch.cuda.current_stream().record_event() if gradient.is_cuda else None
                now.begun[unit] = self._thread.submit(self._encode, now.report, unit, gradients, event)

        return accumulated

    def _encode(
        self,
        report: EncodeReport,
        unit: Unit,
        gradients: Sequence[Sequence[torch.Tensor | None]],
        event: "torch.cuda.Event | None",
    ) -> bytes:
        """Make the frame of a unit; in the encoding thread."""
        if event is not None:
            event.wait()
        uplink = self._uplink
        self._flat.read_unit(unit, gradients, uplink.entries)
        uplink.memory.add_to(uplink.entries[unit.place], unit.start)
        return uplink.encode_unit(unit, self._lost, report)

    def _check_unchanged(self, done: _Pass) -> None:
        for name, seen in done.seen.items():
            if seen.parameter.grad is not seen.gradient or seen.gradient._version != seen.changes:
                raise UsageError(
                    f"{name}: its gradient changed after it was encoded during backward (clipping, unscaling, "
                    "accumulation?); want it left as it is until step(), or overlap=False"
                )


def _wait_for(begun: _Pass) -> None:
    """Wait until nothing of a pass is being encoded."""
    for each in begun.begun.values():
        each.exception()
