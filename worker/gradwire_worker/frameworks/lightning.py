"""A callback for Lightning: samples from the batch, and the end of the run as the end of `fit`.

trainer = Trainer(callbacks=[GradwireCallback()])
"""

from typing import Any

from lightning.pytorch import Callback

from gradwire_worker.frameworks.schedules import catch_up
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.samples import batch_size


class GradwireCallback(Callback):  # type: ignore[misc, unused-ignore]
    """Tells every RemoteOptimizer of a Trainer how many samples there are, ends `fit` with the run, and leaves it."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        """Bring schedules that step with the rounds to where the run is; a checkpoint's may be behind."""
        for config in trainer.lr_scheduler_configs:
            if config.interval == "step":
                for optimizer in _of([config.scheduler.optimizer]):
                    catch_up(config.scheduler, optimizer)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Count the samples of the batch."""
        for optimizer in _of(trainer.optimizers):
            optimizer.count(batch_size(batch))

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Let `fit` end where the run has."""
        if any(optimizer.ended for optimizer in _of(trainer.optimizers)):
            trainer.should_stop = True
            loop = trainer.fit_loop
            loop.epoch_loop.min_steps = loop.min_epochs = None  # the run's length is the server's

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        """Leave the run."""
        for optimizer in _of(trainer.optimizers):
            optimizer.leave()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:  # noqa: ARG002
        """Leave the run, and say why."""
        for optimizer in _of(trainer.optimizers):
            optimizer.leave(f"{type(exception).__name__}: {exception}")


def _of(optimizers: list[Any]) -> list[RemoteOptimizer]:
    found = [getattr(each, "optimizer", each) for each in optimizers]
    return [each for each in found if isinstance(each, RemoteOptimizer)]
