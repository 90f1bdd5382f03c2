"""Whether a server can begin by its settings, before anything of a run is touched."""

from gradwire_common.errors import ConfigError
from gradwire_common.settings.config import ServedRun
from gradwire_server.limits.limits import Limits
from gradwire_server.rounds.schedule_settings import ScheduleSettings
from gradwire_server.rpc.certificates import Certificates, ServerCertificate
from gradwire_server.rpc.listening import check_address, check_exposed
from gradwire_server.rpc.tokens import Tokens
from gradwire_server.store.initial_weights import check_initial_weights
from gradwire_server.versions.training import check_training


def check_settings(settings: ServedRun) -> None:
    """Raise ConfigError unless a server can work by these settings."""
    check_training(settings)
    ScheduleSettings.of(settings)
    Limits.of(settings)


def check_server(settings: ServedRun) -> None:
    """Raise ConfigError unless a server can begin: its settings can work, its certificates too, its ports are free."""
    check_settings(settings)
    proofs_of(settings)
    if settings.certs is not None:
        ServerCertificate(settings.certs)
    check_address("listen", settings.listen)
    check_exposed(settings.listen, guarded=settings.certs is not None, insecure=settings.insecure)
    if settings.initial_weights is not None:
        check_initial_weights(settings.initial_weights)
    if settings.metrics_listen is not None:
        check_address("metrics_listen", settings.metrics_listen)


def proofs_of(settings: ServedRun) -> Certificates | Tokens | None:
    """Return what tells who calls; None where nobody is asked.

    Raises:
        ConfigError: two kinds of proof are wanted.
        IdentityError: a file of them is wrong.
    """
    if settings.tokens is None:
        return None if settings.certs is None else Certificates(settings.certs)
    if settings.certs is not None:
        raise ConfigError(
            "tokens: got them together with certs, want one of the two: callers that show certificates need no tokens"
        )
    return Tokens(settings.tokens)
