"""The numbers of a run: its weights, and the rule and the outcome that change them.

The blocking arithmetic is for a thread beside the event loop; one call at a time, `check` excepted.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gradwire_common.errors import CheckpointError, NonFiniteError
from gradwire_common.layout.manifest import Manifest
from gradwire_common.methods.method import MAX_ENTRY
from gradwire_common.methods.update import check_finite, check_update, frames_of, split_frames
from gradwire_common.settings.by_name import NO_SCHEDULE
from gradwire_common.settings.config import ServedRun
from gradwire_common.step_options import RATE, Groups, OptimizerChoice, changed, changes
from gradwire_common.transport.digests import digest_of
from gradwire_server.aggregation.noise import GaussianNoise
from gradwire_server.aggregation.push import Push
from gradwire_server.aggregation.registry import check_aggregation, make_rule
from gradwire_server.aggregation.rule import Mean, Treatment
from gradwire_server.aggregation.settings import AggregationSettings
from gradwire_server.outcome.downlink import Downlink
from gradwire_server.outcome.optimizers.optimizer import Adjustable, Fixed, OptimizerSettings
from gradwire_server.outcome.optimizers.registry import check_optimizer
from gradwire_server.outcome.outcome import ClosedRound, Draft, Kind, Model, State, Version
from gradwire_server.outcome.registry import OUTCOMES
from gradwire_server.outcome.weights import Weights
from gradwire_server.store.initial_weights import read_initial_weights


def check_training(settings: ServedRun) -> None:
    """Raise ConfigError unless there are the aggregation, the outcome and the optimizer that `settings` name."""
    check_aggregation(AggregationSettings.of(settings), settings.uplink)
    OUTCOMES.find(settings.outcome)
    check_optimizer(OptimizerSettings.of(settings))


class Training:
    """The weights of a run and all that changes them.

    Pushes are bounded (`check`), so their mean is finite, but for what a rule or a method from outside does: then they
    count as zero. Buffers may hold masks, entries above MAX_ENTRY that are the same in every push: they stay as they
    are, since their sums overflow.

    Attributes:
        optimizer: what the outcome steps with.
        fixed: what of that the server's settings decide.
        initial_options: of each parameter group, as the run began; () where they never change.
        decode_seconds: time spent on adding pushes since `version_of` last began.
        dropped: why the pushes of the newest round count as zero; empty where they do not.
        treated: slots whose pushes the rule clipped, or found far out, in the newest round of `version_of`.

    Args:
        manifest: the model.
        settings: name the aggregation, the outcome and the optimizer, and how updates are coded.
        choice: the first worker's optimizer; None where it leaves that to the server.

    Raises:
        ConfigError: the optimizer cannot step, or does not take this model or its parameter groups.
    """

    def __init__(self, manifest: Manifest, settings: ServedRun, choice: OptimizerChoice | None = None):
        self.optimizer, self.fixed = OptimizerSettings.of(settings, choice), Fixed.of(settings)
        if choice is not None:
            check_optimizer(self.optimizer)
        self.manifest = manifest
        self.layout = manifest.layout
        self.weights = Weights(self.layout, exact=settings.downlink.exact)
        aggregation = AggregationSettings.of(settings)
        self.rule = make_rule(aggregation, self.layout, settings.uplink)
        noisy = aggregation.noise_multiplier > 0
        self._noise = GaussianNoise(aggregation.noise_multiplier, aggregation.clip.bound) if noisy else None
        model = Model(manifest, self.weights, Downlink(self.layout, self.weights, settings.downlink))
        self.outcome = OUTCOMES.find(settings.outcome)(model, self.optimizer)
        self.initial_options = self._options()
        self._settings_rate = settings.lr if self.fixed.rate_itself and settings.schedule == NO_SCHEDULE else None
        self._method = settings.uplink
        self._masks = np.empty(0, np.int64)  # places of entries above MAX_ENTRY among the buffers
        self._n_added = 0
        self.decode_seconds = 0.0
        self.dropped = ""
        self.treated: Mapping[int, Treatment] = {}

    def load(self, data: memoryview) -> None:
        """Load initial weights. Raises BitstreamError, NonFiniteError and RangeError as `Weights.load` does."""
        self.weights.load(data)
        self._find_masks()

    def load_file(self, path: Path) -> None:
        """Load initial weights. Raises as `read_initial_weights` does, and NonFiniteError, RangeError."""
        self.weights.set(read_initial_weights(path, self.manifest))
        self._find_masks()

    def state(self) -> State:
        """Return everything that the next versions depend on.

        To be called between rounds, when nothing has been added. The tensors are no copies: the next version changes
        them.
        """
        tensors, outcome = self.outcome.state()
        tensors["values"] = torch.from_numpy(self.weights.values)
        if not self.weights.exact:
            tensors["replica"] = torch.from_numpy(self.weights.replica)
        return tensors, {"outcome": outcome, **({"noise": self._noise.state()} if self._noise else {})}

    def load_state(self, tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any]) -> None:
        """Resume from what `state` returned, bit for bit.

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
        self._find_masks()
        self.outcome.load_state(tensors, meta["outcome"])
        if self._noise:
            self._noise.load_state(meta["noise"])

    def changed_options(self) -> Groups:
        """Return the options of each group that are not as the run began; () where all are."""
        return changes(self._options(), self.initial_options)

    def check_options(self, groups: Groups) -> None:
        """Raise UsageError unless options that came with a push are such as the optimizer takes."""
        if self.initial_options and isinstance(self.outcome, Adjustable):
            self.outcome.check_options(groups)

    def decidable(self, groups: Groups) -> Groups:
        """Return of options that came with a push what workers may change here, completed; () where that is nothing."""
        if not self.initial_options or (self.fixed.rate and self.fixed.options):
            return ()
        whole = changed(self.initial_options, groups)
        return tuple(
            {
                name: value
                for name, value in each.items()
                if not (self.fixed.rate if name == RATE else self.fixed.options)
            }
            for each in whole
        )

    def set_options(self, groups: Groups) -> None:
        """Let options have these values from the next step on; () changes nothing."""
        if groups and isinstance(self.outcome, Adjustable):
            self.outcome.set_options(groups)

    def changed_rate(self, before: float) -> Groups:
        """Return what makes the settings' rate that of the groups that have `before`, the one of an earlier process."""
        if self._settings_rate is None or self._settings_rate == before:
            return ()
        rate = self._settings_rate
        now = self._options()
        return tuple({RATE: rate} if each.get(RATE) == before else {} for each in now) if now else ()

    def _options(self) -> Groups:
        return self.outcome.options() if isinstance(self.outcome, Adjustable) else ()

    def check(self, data: memoryview, with_buffers: bool) -> int:
        """Return the digest of a push's frames; may run beside the other methods.

        Raises:
            BitstreamError: one of them does not decode.
            RangeError: an entry is too large to be added up; names the tensor.
        """
        check_update(data, self.layout.pushed(with_buffers), self._method, self.weights.values)
        return digest_of(data)

    def largest(self, push: Push) -> float:
        """Return a magnitude that no entry of a push is above. Raises BitstreamError where it does not decode."""
        frames = split_frames(push.data, self.layout.pushed(push.with_buffers), self._method)
        return max(frames_of(unit, self._method).check(frame, unit) for unit, frame in frames)

    def add(self, push: Push, slot: int) -> None:
        """Add the push of `slot` to its round."""
        began = time.perf_counter()
        self._n_added += 1
        self.rule.add(push, slot)
        self.decode_seconds += time.perf_counter() - began

    async def version_of(self, closed: ClosedRound, draft: Draft) -> Version:
        """Make the version of a round whose pushes have all been added.

        Raises:
            NonFiniteError: the new weights are not finite; names the tensor.
            ConfigError: the budget is too small for any update.
        """
        self.decode_seconds = 0.0
        mean = await draft.compute(self._mean, closed)
        return await self.outcome.version_of(closed, mean, draft)

    def snapshot(self, version: int) -> Version:
        """Return all weights, for a worker that joins or fell far behind."""
        return replace(self.described(version), frames=tuple(self.weights.snapshot()))

    def described(self, version: int) -> Version:
        """Return a snapshot without its frames, for a worker that holds all of it."""
        return Version(
            version,
            Kind.SNAPSHOT,
            (),
            self.weights.digest(),
            options=self.changed_options(),
            unit_digests=self.weights.unit_digests(),
        )

    def _mean(self, closed: ClosedRound) -> Mean:
        try:
            mean, self.dropped = self._finite_mean(), ""
        except NonFiniteError as error:
            self.dropped = str(error)
            size = self.layout.n_parameters + self.layout.n_buffers
            mean = Mean(np.zeros(size, np.float32), with_buffers=False)
        if self._noise:
            self._noise.add(mean.entries[: self.layout.n_parameters], closed.round, closed.n_pushes)
        self.treated = mean.treated
        return mean

    def _finite_mean(self) -> Mean:
        n_added, self._n_added = self._n_added, 0
        if not n_added:
            raise NonFiniteError("there is no push that can be added up")
        mean = self.rule.finish()
        self._method.invert(mean.entries, self.layout)
        if mean.with_buffers:
            mean.entries[self._masks] = self.weights.values[self._masks]
        for unit in self.layout.pushed(mean.with_buffers):
            check_finite(mean.entries, unit)
        return mean

    def _find_masks(self) -> None:
        n, stop = self.layout.n_parameters, self.layout.n_parameters + self.layout.n_buffers
        self._masks = n + np.flatnonzero(np.abs(self.weights.values[n:stop]) > MAX_ENTRY)
