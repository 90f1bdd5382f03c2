"""The aggregation rules by name."""

from gradwire_common.registry import Registry
from gradwire_server.aggregation.mean import WeightedMean
from gradwire_server.aggregation.rule import RuleFactory

AGGREGATIONS: Registry[RuleFactory] = Registry("aggregation", {"mean": WeightedMean})
