"""A callback for Hugging Face's Trainer: samples from the batch, and the end of the run as the end of training.

trainer = Trainer(model, ..., optimizers=(optimizer, schedule), callbacks=[GradwireCallback(optimizer)])
"""

from typing import Any

from transformers import TrainerCallback

from gradwire_worker.frameworks.schedules import catch_up
from gradwire_worker.remote_optimizer import RemoteOptimizer


class GradwireCallback(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Counts the samples that the model is given, ends training with the run, and leaves it.

    Args:
        optimizer: the one that the Trainer has.
    """

    def __init__(self, optimizer: RemoteOptimizer):
        self._optimizer = optimizer
        optimizer.count_samples()

    def on_train_begin(self, args: Any, state: Any, control: Any, **parts: Any) -> None:  # noqa: ARG002
        """Bring the schedule to where the run is; a checkpoint's may be behind."""
        catch_up(parts["lr_scheduler"], self._optimizer)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:  # noqa: ARG002
        """Let training end where the run has."""
        control.should_training_stop = control.should_training_stop or self._optimizer.ended
        return control

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Leave the run."""
        self._optimizer.leave()
