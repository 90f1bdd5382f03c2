"""The aggregation rules by name, and the one that the settings ask for."""

from gradwire_common.errors import ConfigError
from gradwire_common.layout.manifest import Layout, TensorSpec
from gradwire_common.methods.method import Method
from gradwire_common.registry import Registry
from gradwire_common.settings.by_name import check_options
from gradwire_server.aggregation.clipping import Clipped
from gradwire_server.aggregation.krum import Krum, krum
from gradwire_server.aggregation.mean import WeightedMean
from gradwire_server.aggregation.radial import RadialMean
from gradwire_server.aggregation.rule import Rule, RuleFactory
from gradwire_server.aggregation.senders import SendersMean
from gradwire_server.aggregation.settings import MEAN, AggregationSettings
from gradwire_server.aggregation.trimmed import TrimmedMean, median

AGGREGATIONS: Registry[RuleFactory] = Registry(
    "aggregation",
    {
        MEAN: WeightedMean,
        "trimmed_mean": TrimmedMean,
        "median": median,
        "krum": krum,
        "multi_krum": Krum,
        "senders_mean": SendersMean,
        "radial_mean": RadialMean,
    },
)


def make_rule(settings: AggregationSettings, layout: Layout, method: Method) -> Rule:
    """Return the rule that settings ask for, clipping included.

    Raises:
        ConfigError: no such rule or option, a value that cannot be, or pushes are compared where a round is one push.
    """
    factory = AGGREGATIONS.find(settings.name)
    check_options(f"aggregation {settings.name}", factory, settings.options)
    rule = factory(layout, method, **settings.options)
    if settings.clip:
        rule = Clipped(rule, layout, method, settings.clip)
    if settings.asynchronous and not rule.streams:
        what = f"clip_norm: got '{settings.clip}'" if settings.clip.median else f"aggregation: got '{settings.name}'"
        raise ConfigError(f"{what} in the asynchronous mode, where a round is one push; want one that compares none")
    return rule


def check_aggregation(settings: AggregationSettings, method: Method) -> None:
    """Raise ConfigError unless `settings` make a rule."""
    make_rule(settings, Layout([TensorSpec("vector", (2,))]), method)
