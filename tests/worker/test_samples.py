"""Samples are counted from what a model is given while it trains."""

import torch
from torch import nn

from gradwire_worker.samples import SampleCount


def test_passes_that_train_are_added_up_and_a_second_step_on_a_batch_counts_as_many() -> None:
    model = nn.Linear(4, 2)
    counted = SampleCount(model)
    assert counted.pop() == 1
    model(torch.ones(3, 4))
    model(torch.ones(5, 4))
    with torch.no_grad():
        model(torch.ones(7, 4))
    assert [counted.pop(), counted.pop()] == [8, 8]
    model.eval()(torch.ones(9, 4))
    counted.samples += 2
    assert counted.pop() == 2
    counted.close()
    model.train()(torch.ones(6, 4))
    assert counted.pop() == 2
