"""The outcome of a parameter server: the optimizer steps by the mean, and workers get how their replica changes."""

from collections.abc import Mapping
from typing import Any

import torch

from gradwire_common.errors import NonFiniteError
from gradwire_common.methods.method import F32
from gradwire_common.methods.update import check_finite
from gradwire_common.step_options import Groups
from gradwire_server.aggregation.rule import Mean
from gradwire_server.outcome.optimizers.optimizer import Adjustable, OptimizerSettings
from gradwire_server.outcome.optimizers.registry import make_optimizer
from gradwire_server.outcome.outcome import ClosedRound, Draft, Kind, Model, State, Version


class Step:
    """Steps the optimizer by every mean.

    Raises:
        ConfigError: the optimizer does not take this model or its parameter groups.
    """

    def __init__(self, model: Model, settings: OptimizerSettings):
        self._model = model
        self._optimizer = make_optimizer(model.manifest, model.weights.values, settings)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the first parameter group at the next step."""
        return self._optimizer.learning_rate

    def options(self) -> Groups:
        """Return the optimizer's options, of each group; () where they never change."""
        return self._optimizer.options() if isinstance(self._optimizer, Adjustable) else ()

    def check_options(self, groups: Groups) -> None:
        """Raise UsageError unless the optimizer takes these options."""
        if isinstance(self._optimizer, Adjustable):
            self._optimizer.check_options(groups)

    def set_options(self, groups: Groups) -> None:
        """Let options have these values from the next step on."""
        if isinstance(self._optimizer, Adjustable):
            self._optimizer.set_options(groups)

    async def version_of(self, closed: ClosedRound, mean: Mean, draft: Draft) -> Version:
        """Step, then encode.

        Raises:
            NonFiniteError: the new weights are not finite; names the tensor.
            ConfigError: the budget is too small for any update.
        """
        await draft.compute(self.step, closed, mean)
        return await coded_version(self._model, closed, mean, draft)

    def step(self, closed: ClosedRound, mean: Mean) -> None:
        """Step the weights by a mean, and take over its buffers. Raises NonFiniteError, naming the tensor."""
        weights, n = self._model.weights.values, self._model.manifest.layout.n_parameters
        self._optimizer.step(mean.entries, closed.loss)
        check_weights(self._model, closed.round)
        if mean.with_buffers:
            weights[n : len(mean.entries)] = mean.entries[n:]

    def state(self) -> State:
        """Return the optimizer's state and the downlink's."""
        tensors, meta = self._optimizer.state()
        return tensors, {"optimizer": meta, "downlink": self._model.downlink.state()}

    def load_state(self, tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any]) -> None:
        """Resume from what `state` returned, bit for bit."""
        self._optimizer.load_state(tensors, meta["optimizer"])
        self._model.downlink.load_state(meta["downlink"])


async def coded_version(model: Model, closed: ClosedRound, mean: Mean, draft: Draft) -> Version:
    """Return the version of weights that have changed, opened, with every frame handed over as soon as it is made.

    What the replica lacks is computed where the mean was, whose parameters have been used by now.
    """
    kind = Kind.WEIGHTS if model.downlink.exact else Kind.CHANGE
    await draft.open(kind, with_buffers=mean.with_buffers)
    frames: list[bytes] = []

    def encode(change: F32) -> None:
        for frame in model.downlink.frames(change, closed.budget, with_buffers=mean.with_buffers):
            frames.append(frame)
            draft.append(frame)

    await draft.compute(encode, mean.entries)
    return Version(closed.round, kind, tuple(frames), model.downlink.digest, mean.with_buffers)


def check_weights(model: Model, version: int) -> None:
    """Raise NonFiniteError, naming the tensor, unless the weights of a version are finite."""
    for unit in model.manifest.layout.parameters:
        try:
            check_finite(model.weights.values, unit)
        except NonFiniteError as error:
            raise NonFiniteError(f"weights of version {version}: {error}; a lower lr may help") from error
