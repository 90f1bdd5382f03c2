"""A model's place in a run: the parts that take part, joined and complete, until it leaves."""

import logging
import os
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gradwire_common.errors import ConfigError, RunEndedError, UsageError
from gradwire_common.layout.buffers import BufferSchedule
from gradwire_common.methods.method import Method
from gradwire_common.methods.registry import override_method
from gradwire_common.transport.address import Address
from gradwire_common.warming import warm_method
from gradwire_worker.checkpoint.resuming import OwnCheckpoint
from gradwire_worker.compute.flat_model import FlatModel, manifest_of
from gradwire_worker.compute.groups import Group
from gradwire_worker.compute.loader import Loader
from gradwire_worker.exchange import Exchange
from gradwire_worker.interrupts import HELD
from gradwire_worker.session import Session, SessionOptions
from gradwire_worker.session.replica import Replica
from gradwire_worker.sources.frame_source import FrameSource, Joined, Source
from gradwire_worker.uplink import Uplink

log = logging.getLogger("gradwire")


@dataclass
class Place:
    """What takes part in a run for one model; `join` makes it.

    Attributes:
        resumed: the round whose push was repeated from the worker's own checkpoint; 0 for none.
        stepped: when the last step ended, of time.perf_counter.
    """

    flat: FlatModel
    session: Session
    method: Method
    uplink: Uplink
    loader: Loader
    source: FrameSource
    exchange: Exchange
    resumed: int
    stepped: float = field(default_factory=time.perf_counter)

    @classmethod
    def join(
        cls,
        model: nn.Module,
        server: str | Address,
        groups: Sequence[Group],
        coding: Mapping[str, Any],
        source: Source,
        options: SessionOptions,
        file: Path | None,
        show: Callable[[str], None],
    ) -> "Place":
        """Join the run at `server`, or leave it again where that fails.

        Args:
            model: what is trained.
            server: its address.
            groups: complete parameter groups.
            coding: options that replace those of the run's method.
            source: where the frames of a push come from.
            options: how the worker takes part.
            file: the worker's own checkpoint; None for none.
            show: is given lines for people while weights travel.

        Raises:
            GradwireError: why the worker cannot take part.
        """
        shared = [{"params": [p for group in groups for p in group["params"]]}] if source.own_options else groups
        manifest = manifest_of(model, shared)
        flat = FlatModel(model, manifest)
        replica = Replica(manifest.layout, flat.compute.new_vector(manifest.layout.size))
        options = replace(options, settings={**options.settings, **source.shared})
        session = Session.join(server, manifest, flat.read_weights, options, replica, show)
        with ExitStack() as undo:
            undo.callback(session.leave, "could not begin")
            reply = session.client.reply
            method = override_method(session.method, coding)
            source.check_run(method, asynchronous=reply.asynchronous)
            if reply.sampled and source.delay:
                raise ConfigError(f"delay: got {source.delay} in a run whose rounds are of some workers each, want 0")
            warm_method(method)
            uplink = Uplink(flat, method)
            uplink.check_limits(session.client.limits, str(server))
            buffers = BufferSchedule(reply.buffers_every, reply.rounds)
            loader = Loader(flat, session, buffers)
            loader.load()
            opened = source.open(Joined(flat, uplink, groups, reply.rounds))
            checkpoint = None if file is None else OwnCheckpoint(file, session, flat, uplink, loader, opened)
            exchange = Exchange(flat, session, uplink, loader, buffers, opened, checkpoint, delay=source.delay)
            undo.callback(exchange.close, hurry=True)
            place = cls(flat, session, method, uplink, loader, opened, exchange, exchange.resume())
            place.begin()
            undo.pop_all()
        log.info(
            "joined run %r at %s as slot %d of %d, at version %d",
            reply.run,
            server,
            reply.slot,
            reply.slots,
            loader.version,
        )
        return place

    def begin(self) -> None:
        """Begin the next round of this worker: at once, or where rounds are of some workers each, once it is called."""
        try:
            if self.session.client.reply.sampled:
                self._wait_for_turn()
        finally:
            self.source.begin(self.loader.version)

    def _wait_for_turn(self) -> None:
        """Wait until this worker takes part in a round, with the weights before it, or until the end."""
        session = self.session
        try:
            while not session.ended:
                if round_ := session.client.turn(self.loader.version):
                    session.wait_for(round_ - 1)
                    self.loader.load()
                    return
        except RunEndedError:
            pass  # the stream of updates tells the rest
        self.exchange.finish()

    def step(self, samples: int, loss: float) -> None:
        """Let the source step; push what is due, wait for the round to close, load the new weights.

        Args:
            samples: that the gradients are the mean of.
            loss: their mean loss, NaN where it is not known.

        Raises:
            GradwireError: as RemoteOptimizer.step says.
        """
        if self.session.ended and self.session.left:
            raise self.session.run_ended()
        self.check("step")
        if self.session.ended:
            if not self.exchange.finish():
                raise self.session.run_ended()
            return
        due = self.source.step(samples, loss)
        if due is None:
            return
        self.flat.compute.synchronize()
        began = time.perf_counter()
        try:
            self.exchange.round(due.samples, due.loss, began - self.stepped, began)
        except RunEndedError:
            if not self.exchange.finish():
                raise
        except BaseException:
            if self.exchange.took:  # what the source had is pushed or in the residual memory by now
                self.source.begin(self.loader.version)
            raise
        self.begin()
        self.stepped = time.perf_counter()

    def load_again(self) -> None:
        """Bring the run's newest weights into the model, whatever it holds; local steps begin again from there."""
        if self.session.left or self.session.process != os.getpid():
            return
        with HELD:
            self.loader.load_again()
            self.source.begin(self.loader.version)

    def leave(self, reason: str, *, hurry: bool = False) -> None:
        """Leave the run; nothing happens the second time, or in a process forked from the one that joined.

        Args:
            reason: for the server's log.
            hurry: whether a server that does not answer is given up soon, whatever the patience.
        """
        if self.session.process != os.getpid():
            return
        with HELD:
            try:
                self.exchange.close(hurry=hurry)
            finally:
                self.session.leave(reason)

    def check(self, what: str) -> None:
        """Raise UsageError in a process forked from the one that joined, and after leaving."""
        if self.session.process != os.getpid():
            raise UsageError(
                f"{what}: got a call in process {os.getpid()}, which was forked from the worker, process "
                f"{self.session.process}; want it there, or a RemoteOptimizer made in this process"
            )
        if self.session.left:
            raise UsageError(
                f"{what}: this worker has left the run: {self.session.left}; want a new RemoteOptimizer to go on"
            )


_TAKEN: "weakref.WeakKeyDictionary[torch.optim.Optimizer, Place]" = weakref.WeakKeyDictionary()  # in this process


def register(optimizer: torch.optim.Optimizer, place: Place) -> None:
    """Let `optimizer` have its place until it is dropped or another takes it."""
    _TAKEN[optimizer] = place
    weakref.finalize(optimizer, place.session.leave, "its process ended")
    weakref.finalize(optimizer, place.source.close).atexit = False  # the model outlives its hooks


def replace_earlier(optimizer: torch.optim.Optimizer) -> None:
    """Let another optimizer of this process that trains parameters of `optimizer` leave: it would be waited for."""
    own = _parameters(optimizer)
    for other, place in list(_TAKEN.items()):
        session = place.session
        if session.process == os.getpid() and not session.left and own & _parameters(other):
            log.warning(
                "worker %s leaves the run: another RemoteOptimizer of its model takes its place",
                session.client.worker_id,
            )
            place.leave("another RemoteOptimizer of its model took its place", hurry=True)


def _parameters(optimizer: torch.optim.Optimizer) -> set[int]:
    return {id(each) for group in optimizer.param_groups for each in group["params"]}
