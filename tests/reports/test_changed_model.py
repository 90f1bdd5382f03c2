"""A model that is not what it was when the run was joined is told at the next step; what may change, may."""

import timeit

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from gradwire_common.errors import UsageError
from gradwire_worker.compute.changes import Changes
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.sources.in_step import InStep
from gradwire_worker.sources.local_steps import LocalSteps
from running import running_server
from worker.toys import batches, server_config, take_step


def build() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(80, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))


def layer_replaced(model):
    model[3] = nn.Linear(8, 4)


def layer_replaced_by_another_shape(model):
    model[3] = nn.Linear(8, 5)


def layer_added(model):
    model.append(nn.Linear(4, 4))


def layer_deleted(model):
    del model[1]


def parameter_added(model):
    model[2].register_parameter("slope", nn.Parameter(torch.ones(8)))


def parameter_removed(model):
    model[3].bias = None


def resized_in_place(model):
    model[3].weight.data, model[3].bias.data = torch.randn(5, 8), torch.randn(5)


def halved(model):
    model.half()


def buffer_grown(model):
    model[1].running_mean = torch.cat([model[1].running_mean, torch.zeros(1)])


def buffer_added(model):
    model[2].register_buffer("seen", torch.zeros(3))


def buffer_of_another_dtype(model):
    model[1].running_var = model[1].running_var.double()


def frozen(model):
    model[0].requires_grad_(False)


def loaded_by_assignment(model):
    model.load_state_dict(build().state_dict(), assign=True)


def moved_to_meta(model):
    model.to("meta")


def pruned(model):
    prune.random_unstructured(model[0], "weight", 0.5)


def parametrized(model):
    parametrizations.weight_norm(model[0])


def laid_over_another(model):
    model[1].weight.data = model[1].bias.data


def overlapping_another(model):
    model[1].weight.data = model[0].weight.data[0, :8]


CHANGES = [
    (layer_replaced, r"3.weight: was \[4, 8\] float32, trained .*, is another parameter now, \[4, 8\] float32"),
    (layer_replaced_by_another_shape, r"3.weight: was \[4, 8\] .*, is \[5, 8\] float32, trained now \(1 more"),
    (layer_added, r"4.weight: was not in the model when the run was joined, is \[4, 4\] float32"),
    (layer_deleted, r"1.weight: was \[8\] float32, trained when the run was joined, is no longer in the model"),
    (parameter_added, r"2.slope: was not in the model .*, is \[8\] float32, trained now"),
    (parameter_removed, r"3.bias: was \[4\] float32, trained .*, is no longer"),
    (resized_in_place, r"3.weight: was \[4, 8\] float32, trained .*, is \[5, 8\] float32, trained now"),
    (halved, r"0.weight: was \[8, 80\] float32, trained .*, is \[8, 80\] float16, trained now"),
    (buffer_grown, r"1.running_mean: was \[8\] float32, a buffer .*, is \[9\] float32, a buffer now"),
    (buffer_added, r"2.seen: was not in the model .*, is \[3\] float32, a buffer now"),
    (buffer_of_another_dtype, r"1.running_var: was \[8\] float32, a buffer .*, is \[8\] float64, a buffer now"),
    (frozen, r"0.weight: was \[8, 80\] float32, trained .*, is \[8, 80\] float32, frozen now"),
    (loaded_by_assignment, r"0.weight: was \[8, 80\] .*, is another parameter now, .*\(5 more tensors changed\)"),
    (moved_to_meta, r"0.weight: was \[8, 80\] float32, trained .*, is \[8, 80\] float32, trained on device meta now"),
    (pruned, r"0.weight: was \[8, 80\] float32, trained .*, is no longer in the model"),
    (parametrized, r"0.weight: was \[8, 80\] float32, trained .*, is no longer in the model"),
    (laid_over_another, r"1.bias: was in the memory of 1.bias .*, is in that of 1.weight now"),
    (overlapping_another, r"0.weight .* and 1.weight .* overlap in memory"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_a_change_is_told_by_name_with_what_was_and_what_is(change, message):
    model = build()
    changes = Changes(model)
    changes.check()
    change(model)
    for _ in range(2):
        with pytest.raises(UsageError, match=message):
            changes.check()


def test_a_tie_that_was_cut_is_told():
    model = nn.ModuleList([nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)])
    model[1].weight.data = model[0].weight.data
    changes = Changes(model)
    model[1].weight.data = model[1].weight.data.clone()
    with pytest.raises(UsageError, match=r"1.weight: was in the memory of 0.weight .*, is in that of 1.weight now"):
        changes.check()
    model[1].weight = model[0].weight
    with pytest.raises(UsageError, match=r"1.weight: was \[3, 3\] .*, is another parameter now"):
        changes.check()


def same_values_elsewhere(model):
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()


def buffers_exchanged(model):
    model[1].running_mean = model[1].running_mean * 0.9


def loaded(model):
    model.load_state_dict(build().state_dict())


def cache_registered(model):
    model[2].register_buffer("cache", torch.zeros(3), persistent=False)


def compiled_inside(model):
    model[0] = torch.compile(model[0], backend="eager")


def compiled_in_place(model):
    model.compile(backend="eager")


def evaluated(model):
    model.eval()
    model.train()


def moved(model):
    model.to("cpu", memory_format=torch.preserve_format)
    model.share_memory()


MAY_CHANGE = [
    same_values_elsewhere,
    buffers_exchanged,
    loaded,
    cache_registered,
    compiled_inside,
    compiled_in_place,
    evaluated,
    moved,
]


def test_what_may_change_trains_on(tmp_path):
    model, data = build(), batches(len(MAY_CHANGE) + 1)
    with running_server(server_config(tmp_path)) as server, RemoteOptimizer(model, server.address) as optimizer:
        take_step(model, optimizer, data[0])
        for change, batch in zip(MAY_CHANGE, data[1:], strict=True):
            change(model)
            before = model[3].weight.detach().clone()
            take_step(model, optimizer, batch)
            assert optimizer.last_step.counted, change.__name__
            assert not torch.equal(model[3].weight, before), change.__name__


@pytest.mark.parametrize("settings", [{}, {"source": InStep(delay=1)}, {"source": LocalSteps(2)}])
def test_a_step_after_a_change_pushes_nothing_and_the_next_one_without_it_counts(tmp_path, settings):
    model, data = build(), batches(4)
    with (
        running_server(server_config(tmp_path)) as server,
        RemoteOptimizer(model, server.address, **settings) as optimizer,
    ):
        take_step(model, optimizer, data[0])
        before, layer = optimizer.next_round, model[3]
        layer_replaced(model)
        with pytest.raises(UsageError, match=r"3.weight: was \[4, 8\] .*, is another parameter now"):
            take_step(model, optimizer, data[1])
        assert optimizer.next_round == before
        model[3] = layer
        take_step(model, optimizer, data[2])
        take_step(model, optimizer, data[3])
        assert optimizer.next_round > before


def test_asking_costs_microseconds_a_tensor():
    model = nn.Sequential(*[nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU()) for _ in range(100)])
    changes = Changes(model)
    n_tensors = len(model.state_dict())
    assert n_tensors == 700
    seconds = min(timeit.repeat(changes.check, number=10, repeat=5)) / 10
    assert seconds / n_tensors < 10e-6  # 0.7 where nothing else runs
