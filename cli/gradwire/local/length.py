"""A run's length as epochs or samples, in rounds."""

import math
from collections.abc import Callable

from gradwire_common.errors import UsageError
from gradwire_common.settings.config import Config


def with_rounds(config: Config, training_samples: Callable[[], int], tell: Callable[[str], None]) -> Config:
    """Return the settings with `epochs` or `total_samples` as the rounds that they come to, rounded up.

    A round is of a batch, or of `local_steps` of them, of each worker that takes part in it.

    Args:
        config: the settings.
        training_samples: tells how many samples an epoch has; asked where there are epochs.
        tell: is told what they come to, in a line.

    Raises:
        UsageError: more than one of rounds, epochs and total_samples is given, or there would be too many rounds.
    """
    asked = {name: value for name in ("epochs", "total_samples") if (value := getattr(config, name)) is not None}
    if not asked:
        return config
    rounds = {"rounds": config.rounds} if "rounds" in config.model_fields_set and not config.resume else {}
    if len(both := {**asked, **rounds}) > 1:
        told = " and ".join(f"{name} {value:g}" for name, value in both.items())
        raise UsageError(f"rounds: got {told}, want one of rounds, epochs and total_samples")
    workers = 1 if config.asynchronous else config.sampled.of(config.workers)
    a_round = workers * config.batch_size * max(1, config.local_steps)
    total = config.total_samples or math.ceil(config.epochs * training_samples())  # type: ignore[operator]
    number = math.ceil(total / a_round)
    what = f"{config.epochs:g} epochs" if config.epochs is not None else f"{total:,} samples"
    tell(f"{what}: {number:,} rounds of {a_round:,} samples")
    return config.replaced(rounds=number, epochs=None, total_samples=None)


def served_rounds(config: Config, tell: Callable[[str], None]) -> Config:
    """Return the settings of a server by itself with a length in rounds.

    Raises:
        UsageError: it was not told enough of its workers, or as `with_rounds` and the task do.
    """
    if config.total_samples is not None and "batch_size" not in config.model_fields_set:
        raise UsageError("total_samples: want batch_size too, the samples of each worker's push, to know the rounds")

    def training_samples() -> int:
        if "task" not in config.model_fields_set:
            raise UsageError("epochs: want task too, whose samples are counted; or total_samples and batch_size")
        from gradwire_worker.tasks import load_task

        return load_task(config).n_train

    return with_rounds(config, training_samples, tell)
