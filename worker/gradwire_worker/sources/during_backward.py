"""Encoding during the backward pass: each unit once its gradients are there, while autograd computes the others.

gradient accumulated -> hook -> a thread of its own: residual, fit, quantise, encode -> step() takes the frame
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import cast

import torch

from gradwire_common.errors import UsageError
from gradwire_common.layout.manifest import Role, Unit
from gradwire_common.methods.method import MAX_ENTRY, EncodeReport, Method, UnitEncoder
from gradwire_common.settings.together import check_together
from gradwire_worker.sources.frame_source import F32, FrameSource, Joined, Source
from gradwire_worker.sources.work_thread import WorkThread


@dataclass(frozen=True, slots=True)
class _Seen:
    """A parameter's gradient, and torch's count of its changes, when it had been accumulated."""

    parameter: torch.Tensor
    gradient: torch.Tensor
    changes: int


@dataclass
class _Pass:
    """What was seen and begun since the last step or zero_grad()."""

    seen: dict[str, _Seen] = field(default_factory=dict)
    begun: "dict[Unit, Future[tuple[bytes, EncodeReport]]]" = field(default_factory=dict)


@dataclass(frozen=True)
class DuringBackward(Source):
    """Encode gradients during the backward pass, each as soon as it is there.

    None may change between that and step(): no clipping, unscaling or accumulation.

    Attributes:
        delay: as for InStep.

    Raises:
        ConfigError: the delay is not 0 or 1.
    """

    delay: int = 0

    def __post_init__(self) -> None:
        check_together(overlap=True, delay=self.delay)

    def check_run(self, method: Method, *, asynchronous: bool) -> None:
        """Raise ConfigError where the method wants all gradients at once, or the run waits for nobody."""
        check_together(overlap=True, delay=self.delay, method=method, asynchronous=asynchronous)

    def open(self, joined: Joined) -> "BackwardSource":
        """Return the source of the run's frames."""
        return BackwardSource(joined)


class BackwardSource(FrameSource):
    """Encodes units of parameters while the backward pass runs.

    A gradient must not change between its accumulation and step(): `frames` compares torch's count of changes. One that
    was taken away or set to zero meanwhile was not seen. The common step size of the uniform quantiser is that which
    the entries of the round before would have needed; so the first round is encoded in step(), as without overlap.

    The method must not want all units at once. The memory of its encoder is exchanged for the new one once all frames
    are made.
    """

    ahead = True

    def __init__(self, joined: Joined):
        self._flat = joined.flat
        self._uplink = uplink = joined.uplink
        self._lost = self._flat.compute.new_vector(uplink.layout.n_parameters)
        self._pass = _Pass()
        self._encoder = cast(UnitEncoder, uplink.encoder)
        self._first = True
        self._planned: Future[None] | None = None
        self._thread = WorkThread("gradwire-encode")
        units = {spec.name: unit for unit in uplink.layout.parameters for spec in unit.tensors}
        self._hooks = [
            parameter.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
                self._hook(name, units[spec.name])
            )
            for spec in uplink.layout.order
            if spec.role is Role.PARAMETER
            for name, parameter in self._flat.in_memory_of(spec.name).items()
            if parameter.requires_grad
        ]

    def begin(self, version: int) -> None:  # noqa: ARG002 - the Protocol's
        """Start a round; a resumed encoder need not encode a whole push first."""
        self._first = self._first and not self._encoder.ready

    def gather(self, out: F32) -> None:
        """Write nothing: units are gathered one by one."""

    def frames(self, budget: int, chunk_bytes: int, report: EncodeReport, *, with_buffers: bool) -> Iterator[bytes]:
        """Yield the frames of a push; all of those of parameters are made before the first is yielded.

        Args:
            budget: 0, since a budget wants all gradients at once.
            chunk_bytes: most bytes of a chunk.
            report: filled in.
            with_buffers: whether the frames of the buffers, which stand in the uplink's entries, follow.

        Raises:
            UsageError: a gradient changed after it was encoded; names its parameter.
            NonFiniteError: an entry is not finite; names its tensor. In both cases the residual is as it was.
        """
        done, self._pass = self._pass, _Pass()
        self._thread.wait()  # nothing is being encoded when something is refused
        self.settle()
        self._flat.check_frozen()
        if self._first:
            self._flat.read_gradients(self._uplink.entries)
            yield from self._uplink.frames(budget, chunk_bytes, report, with_buffers=with_buffers)
            self._first = False
            return
        self._drop_taken_away(done)
        parameters = self._uplink.layout.parameters
        for unit in parameters:
            if unit not in done.begun:
                gradients = [
                    [parameter.grad for parameter in self._flat.in_memory_of(spec.name).values()]
                    for spec in unit.tensors
                ]
                done.begun[unit] = self._submit(unit, gradients, None)
        made = [done.begun[unit].result() for unit in parameters]
        frames = [frame for frame, _ in made]
        self._encoder.memory, self._lost = self._lost, self._uplink.memory
        self._planned = self._thread.submit(self._encoder.plan)
        for _, told in made:
            report.include(told)
        yield from frames
        if with_buffers:
            yield from self._uplink.encode_buffers(report)

    def settle(self) -> None:
        """Wait until the step size of the next push is known."""
        if self._planned is not None:
            self._planned.result()

    def discard(self) -> None:
        """Make the frames begun since the last push again in `frames`: the residual that they began with changes."""
        self._thread.wait()
        self._pass = _Pass(self._pass.seen)

    def forget(self) -> None:
        """Forget all gradients seen: zero_grad() has taken them away."""
        self._pass = _Pass()

    def close(self) -> None:
        """Take the hooks away and end the thread."""
        for hook in self._hooks:
            hook.remove()
        self._thread.close()

    def _hook(self, name: str, unit: Unit) -> Callable[[torch.Tensor], None]:
        parts = [self._flat.in_memory_of(spec.name) for spec in unit.tensors]
        trained = [[each for each, parameter in tied.items() if parameter.requires_grad] for tied in parts]

        def accumulated(parameter: torch.Tensor) -> None:
            gradient = parameter.grad
            if gradient is None or self._first:
                return
            before = self._pass.seen.get(name)
            if before is not None:
                if before.gradient is gradient and before.changes + 1 == gradient._version:
                    raise UsageError(
                        f"{name}: got a second gradient before step(), but the first was encoded during backward; "
                        "want one backward pass for every step, or no DuringBackward"
                    )
                self.forget()  # somebody's own zero_grad(): had the first been added to, that were one change
            now = self._pass
            now.seen[name] = _Seen(parameter, gradient, gradient._version)
            if all(each in now.seen for names in trained for each in names):
                gradients = [[now.seen[each].gradient for each in names] for names in trained]
                event = torch.cuda.current_stream().record_event() if gradient.is_cuda else None
                now.begun[unit] = self._submit(unit, gradients, event)

        return accumulated

    def _submit(
        self, unit: Unit, gradients: Sequence[Sequence[torch.Tensor | None]], event: "torch.cuda.Event | None"
    ) -> "Future[tuple[bytes, EncodeReport]]":
        """Let the frame of a unit be made."""
        return self._thread.submit(lambda: self._encode(unit, gradients, event))

    def _encode(
        self, unit: Unit, gradients: Sequence[Sequence[torch.Tensor | None]], event: "torch.cuda.Event | None"
    ) -> tuple[bytes, EncodeReport]:
        """Make the frame of a unit; in the encoding thread."""
        if event is not None:
            event.wait()
        entries, report = self._uplink.entries, EncodeReport(most=MAX_ENTRY)
        self._flat.read_unit(unit, gradients, entries)
        self._encoder.prepare(entries, unit)
        return self._encoder.encode_unit(entries, unit, self._lost, report), report

    def _drop_taken_away(self, done: _Pass) -> None:
        """Drop the frames of units whose gradients are not those that were encoded: they are made again.

        Raises:
            UsageError: a gradient was changed in place; names its parameter.
        """
        for unit in list(done.begun):
            for name in (name for spec in unit.tensors for name in self._flat.in_memory_of(spec.name)):
                seen = done.seen.get(name)
                gradient = seen.parameter.grad if seen is not None else None
                if seen is None or (gradient is seen.gradient and gradient._version == seen.changes):
                    continue
                if gradient is seen.gradient and bool((gradient.to_dense() if gradient.is_sparse else gradient).any()):
                    raise UsageError(
                        f"{name}: its gradient changed after it was encoded during backward (clipping, unscaling, "
                        "accumulation?); want it left as it is until step(), or no DuringBackward"
                    )
                done.begun.pop(unit, None)
