"""How tests are run, wherever: on a busy machine, and in the background of a shell, which ignores Ctrl-C there."""

import signal

from hypothesis import HealthCheck, settings

settings.register_profile("gradwire", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gradwire")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # processes that tests start would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
