"""Settings that a server hands to its workers, so that they stand in one place: those that it was given.

They travel as texts, as a flag has them.
"""

import json
from collections.abc import Mapping
from typing import TypeVar

from gradwire_common.errors import ConfigError, UsageError
from gradwire_common.settings.config import Config
from gradwire_common.settings.section import Section, as_written

SHARED = (  # what all workers of a run must have alike
    "seed",
    "task",
    "model",
    "split",
    "dirichlet_alpha",
    "parameters",
    "local_steps",
    "local_optimizer",
    "local_lr",
    "local_optimizer_options",
    "local_schedule",
    "local_schedule_options",
)
OWN = ("batch_size", "overlap", "delay")  # in which workers may differ: the server's win where it has them
HANDED = SHARED + OWN
COMPARED = ("seed", "task", "model", "split", "dirichlet_alpha", "parameters", "local_steps")  # with those of a join

C = TypeVar("C", bound=Config)


def handed(settings: Section) -> dict[str, str]:
    """Return what the settings of a server say of its workers, by name: only what it was given."""
    return {name: _text(getattr(settings, name)) for name in HANDED if name in settings.model_fields_set}


def with_handed(config: C, texts: Mapping[str, str]) -> tuple[C, list[str]]:
    """Return a worker's settings with those that its server hands out, and lines about what gave way to them.

    Args:
        config: the worker's own; what was not given is the server's to say.
        texts: by name, as `handed` returns them; names that this worker does not know are left out.

    Raises:
        UsageError: a setting that all workers must have alike was given and differs; names both values.
        ConfigError: a value that cannot be.
    """
    known = {name: text for name, text in texts.items() if name in HANDED}
    try:
        told = config.replaced(**known)
    except ConfigError as error:
        raise ConfigError(f"with what the server's settings say of workers: {error}") from None
    given = [name for name in known if name in config.model_fields_set]
    differing = [name for name in given if getattr(config, name) != getattr(told, name)]
    lines = [
        f"{name}: got {_text(getattr(config, name))}, the server's settings say {_text(getattr(told, name))}"
        for name in differing
    ]
    wrong = [line for name, line in zip(differing, lines, strict=True) if name in SHARED]
    if wrong:
        raise UsageError(f"{'; '.join(wrong)}; leave it out at the worker, or at the server")
    return told, lines


def check_agrees(texts: Mapping[str, str], settings: Mapping[str, str]) -> list[str]:
    """Return lines about what a joining worker's settings have otherwise than the server's.

    Args:
        texts: what the server hands out.
        settings: what the worker says that all must share. What it does not say may be anything, but for local steps.
    """
    said = {"local_steps": "0", **settings}
    return [
        f"{name}: got {said[name]}, the server's settings say {texts[name]}"
        for name in COMPARED
        if name in texts and name in said and said[name] != texts[name]
    ]


def _text(value: object) -> str:
    written = as_written(value)
    return written if isinstance(written, str) else json.dumps(written)
