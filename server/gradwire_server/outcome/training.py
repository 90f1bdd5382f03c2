"""What a round does to the numbers: sum, mean, step, and the update that workers get of it.

Everything here is plain, blocking arithmetic for a thread beside the event loop; one call at a time.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from isal.isal_zlib import crc32

from gradwire_common.codec.frames import add_frame
from gradwire_common.errors import CheckpointError, NonFiniteError
from gradwire_common.layout.manifest import Manifest
from gradwire_common.methods.budget import BudgetEncoder
from gradwire_common.methods.coefficients import from_coefficients
from gradwire_common.methods.method import BITS_MAX, Method
from gradwire_common.methods.silence import Silence
from gradwire_common.methods.update import F32, EncodeReport, UpdateEncoder, check_finite, encode_exact
from gradwire_common.transport.digests import digest_of
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.aggregation.mean import Accumulator
from gradwire_server.intake.staging import Push, check_frames
from gradwire_server.outcome.optimizer import OptimizerSettings, ServerOptimizer
from gradwire_server.versions.broadcast import Update
from gradwire_server.versions.weights import Weights


@dataclass
class Times:
    """Seconds spent since they were last taken."""

    decode: float = 0.0
    step: float = 0.0
    encode: float = 0.0


class Training:
    """The weights of a run and everything that changes them.

    Attributes:
        digest: CRC-32 of the replica after the newest update.

    Args:
        manifest: the model.
        settings: its optimizer and schedule.
        downlink: how changes of the replica are coded.
        transform: what the pushes' entries went through; the mean is brought back.

    Raises:
        ConfigError: the optimizer does not take this model or its parameter groups.
    """

    def __init__(self, manifest: Manifest, settings: OptimizerSettings, downlink: Method, transform: str = "none"):
        self.manifest = manifest
        self.layout = manifest.layout
        self.weights = Weights(self.layout, exact=downlink.exact)
        self.accumulator = Accumulator(self.layout)
        self.optimizer = ServerOptimizer(manifest, self.weights.values, self.accumulator.entries, settings)
        self._transform = transform
        self._encoder = UpdateEncoder(self.layout, downlink)
        self._spender = BudgetEncoder(self._encoder)
        self._times = Times()
        self._silence = Silence(
            "the weights have not changed in %d rounds in a row: every pushed update is zero, or the learning rate is"
        )
        self.digest = 0

    def load(self, data: memoryview) -> None:
        """Take over initial weights. Raises as `Weights.load` does."""
        self.weights.load(data)

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Return everything that the next versions depend on: tensors by name, and the rest as JSON has it.

        To be called between rounds, when nothing has been added. The tensors are no copies: the next `commit` changes
        them.
        """
        tensors, optimizer = self.optimizer.state()
        tensors["values"] = torch.from_numpy(self.weights.values)
        if not self.weights.exact:
            tensors["replica"] = torch.from_numpy(self.weights.replica)
        coding = {"downlink_step": self._encoder.step, "downlink_overhead": self._spender.overhead}
        return tensors, {"optimizer": optimizer, **coding}

    def load_state(self, tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any]) -> None:
        """Go on from what `state` returned, bit for bit.

        Raises:
            CheckpointError: it is not of this model.
        """
        for name, place in (("values", self.weights.values), ("replica", self.weights.replica)):
            if name not in tensors and self.weights.exact:
                continue
            if name not in tensors or tensors[name].shape != place.shape:
                got = list(tensors[name].shape) if name in tensors else "nothing"
                raise CheckpointError(f"checkpoint: {name}: got {got}, want {list(place.shape)}")
            place[:] = tensors[name].numpy()
        self.optimizer.load_state(tensors, meta["optimizer"])
        self._encoder.step = float(meta["downlink_step"])
        self._spender.overhead = float(meta.get("downlink_overhead", 1.0))

    def check(self, data: memoryview, with_buffers: bool) -> int:
        """Return the digest of a push's frames; may run beside the other methods.

        Raises:
            BitstreamError: one of them does not decode.
        """
        check_frames(data, self.layout.pushed(with_buffers))
        return digest_of(data)

    def add(self, push: Push) -> None:
        """Add a push to the sum of its round."""
        with self._timed("decode"):
            self.accumulator.add(push)

    def commit(self, version: int, loss: float, budget: int = 0) -> Update:
        """Do all that closing a round takes; return the whole update that makes `version`. As `step`, then `encode`."""
        update = self.step(version, loss)
        for frame in self.encode(update, budget):
            update.append(frame)
        update.finish(self.digest)
        return update

    def step(self, version: int, loss: float) -> Update:
        """Step the optimizer by the mean of the round's pushes; return the update that makes `version`, still empty.

        Args:
            version: the number of the version.
            loss: mean training loss of the round.

        Raises:
            NonFiniteError: the gradients' mean or the new weights are not finite; names the tensor.
        """
        with self._timed("step"):
            with_buffers = self.accumulator.mean()
            from_coefficients(self.accumulator.entries, self.layout, self._transform)
            self.optimizer.step(loss)
            self._check_weights(version)
            n, buffers = self.layout.n_parameters, len(self.accumulator.entries)
            if with_buffers:
                self.weights.values[n:buffers] = self.accumulator.entries[n:]
        kind = pb.UPDATE_KIND_WEIGHTS if self.weights.exact else pb.UPDATE_KIND_CHANGE
        return Update(version, kind, with_buffers)

    def encode(self, update: Update, budget: int = 0) -> Iterator[bytes]:
        """Yield the frames of `update`, which `step` returned; the replica has each as workers will.

        `digest` is that of the replica once all have been taken.

        Args:
            update: says whether frames of buffers follow.
            budget: bytes of frames that the update may take where the downlink's bits are auto; 0 for no budget.

        Raises:
            ConfigError: the budget is too small for any update.
        """
        with self._timed("encode"):
            frames = self._weights(update) if self.weights.exact else self._change(update, budget)
            self.digest = 0
            for unit, frame in zip(self.layout.pushed(update.with_buffers), frames, strict=True):
                if unit.stop <= self.layout.n_parameters:
                    held = self.weights.replica[unit.place].astype("<f4", copy=False)
                    self.digest = crc32(held.data, self.digest)
                yield frame
            self.accumulator.reset()

    def snapshot(self, version: int) -> Update:
        """Return all weights as an update, for who joins or fell behind."""
        return Update.of(
            version, pb.UPDATE_KIND_SNAPSHOT, self.weights.snapshot(), with_buffers=False, digest=self.weights.digest()
        )

    def take_times(self) -> Times:
        """Return the times since the last call, and begin anew."""
        times, self._times = self._times, Times()
        return times

    def _weights(self, update: Update) -> Iterator[bytes]:
        """Yield the frames of the new weights themselves, which the replica is a part of."""
        return encode_exact(self.weights.values, self.layout.pushed(update.with_buffers), raw=self._encoder.raw)

    def _change(self, update: Update, budget: int) -> Iterator[bytes]:
        """Yield the frames of what workers lack, and add each to the replica."""
        replica, change = self.weights.replica, self.accumulator.entries  # its means have been used
        n = self.layout.n_parameters
        np.subtract(self.weights.values[:n], replica, out=change[:n])
        frames = self._encoded(change, update.with_buffers, budget)
        for unit, frame in zip(self.layout.pushed(update.with_buffers), frames, strict=True):
            if unit.stop <= n:
                add_frame(frame, 1.0, replica[unit.place])
            yield frame

    def _encoded(self, change: F32, with_buffers: bool, budget: int) -> Iterator[bytes]:
        report = EncodeReport()
        if budget and self._encoder.method.auto:
            yield from self._spender.encode(change, None, budget, with_buffers=with_buffers, report=report)
        else:
            bits = BITS_MAX if self._encoder.method.auto else None
            yield from self._encoder.encode(change, with_buffers=with_buffers, report=report, bits=bits)
        self._silence.count(report.silent)

    def _check_weights(self, version: int) -> None:
        for unit in self.layout.parameters:
            try:
                check_finite(self.weights.values, unit)
            except NonFiniteError as error:
                raise NonFiniteError(f"weights of version {version}: {error}; a lower lr may help") from error

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        setattr(self._times, phase, getattr(self._times, phase) + time.perf_counter() - began)
