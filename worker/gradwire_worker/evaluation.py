"""Evaluation of a model on a part of a task's test samples."""

import torch
from torch import nn

from gradwire_worker.tasks import Batch, Indices, Score, Task

BATCH = 256  # samples looked at together


def evaluate(task: Task, model: nn.Module, indices: Indices, device: torch.device) -> Score:
    """Return the model's score on the test samples `indices`; the model's mode is left as it was."""
    was_training = model.training
    model.eval()
    score = Score()
    try:
        with torch.no_grad():
            for start in range(0, len(indices), BATCH):
                score += task.score(model, to_device(task.test_batch(indices[start : start + BATCH]), device))
    finally:
        model.train(was_training)
    return score


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Return the batch on `device`."""
    return tuple(tensor.to(device) for tensor in batch)
