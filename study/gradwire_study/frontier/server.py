"""A simulated server: the rule, the optimizer and the downlink of a real one, without calls."""

import math
from collections.abc import Sequence

from gradwire_common.layout.manifest import Manifest
from gradwire_common.methods.method import F32
from gradwire_server.aggregation.push import Push
from gradwire_server.aggregation.registry import make_rule
from gradwire_server.aggregation.settings import AggregationSettings
from gradwire_server.outcome.downlink import Downlink
from gradwire_server.outcome.optimizers.optimizer import OptimizerSettings
from gradwire_server.outcome.outcome import ClosedRound, Model
from gradwire_server.outcome.step import Step
from gradwire_server.outcome.weights import Weights
from gradwire_study.frontier.arm import Arm


class Server:
    """Merges pushes, steps the weights, and codes how the workers' replica follows them.

    Raises:
        ConfigError: a rule or optimizer that cannot be.
    """

    def __init__(self, arm: Arm, manifest: Manifest, initial: F32):
        self._layout = manifest.layout
        self._method, down = arm.uplink, arm.downlink
        self._weights = Weights(self._layout, exact=down.exact)
        self._weights.values[:] = initial
        self._weights.replica[:] = initial[: self._layout.n_parameters]
        self._downlink = Downlink(self._layout, self._weights, down)
        settings = AggregationSettings(arm.aggregation, arm.aggregation_options)
        self._rule = make_rule(settings, self._layout, self._method)
        outer = arm.outer
        optimizer = OptimizerSettings(
            outer.optimizer, outer.lr, outer.options, outer.schedule, outer.schedule_options, arm.exchanges
        )
        self._step = Step(Model(manifest, self._weights, self._downlink), optimizer)

    def held(self) -> F32:
        """Return what workers hold, (layout.size,): the replica of the parameters, and all else."""
        values = self._weights.values.copy()
        values[: self._layout.n_parameters] = self._weights.replica
        return values

    def exchange(self, pushes: Sequence[bytes], samples: int, number: int, *, with_buffers: bool) -> int:
        """Take the pushes of all workers, each of as many samples; return the bytes sent back to each.

        Raises:
            NonFiniteError: there are no finite weights any more.
        """
        for slot, data in enumerate(pushes):
            self._rule.add(Push(memoryview(data), samples, with_buffers), slot)
        mean = self._rule.finish()
        self._method.invert(mean.entries, self._layout)
        self._step.step(ClosedRound(number, math.nan, n_pushes=len(pushes)), mean)
        return sum(map(len, self._downlink.frames(mean.entries, with_buffers=with_buffers)))
