"""How properties are tested: a busy machine takes its time to draw examples, which says nothing of the code."""

from hypothesis import HealthCheck, settings

settings.register_profile("gradwire", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gradwire")
