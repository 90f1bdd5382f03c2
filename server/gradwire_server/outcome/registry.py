"""The outcomes by name."""

from gradwire_common.registry import Registry
from gradwire_server.outcome.outcome import OutcomeFactory
from gradwire_server.outcome.step import Step

OUTCOMES: Registry[OutcomeFactory] = Registry("outcome", {"step": Step})
