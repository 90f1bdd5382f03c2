"""A model as a manifest and a flat vector."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch import nn

from gradwire_common.errors import ModelMismatchError, NonFiniteError, UsageError
from gradwire_common.layout.manifest import Role
from gradwire_worker.compute.flat_model import FlatModel, manifest_of
from worker.toys import assert_same_state, normalized, perceptron, state_of


class Tied(nn.Module):
    """Two names for one parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(5, 5, bias=False)
        self.decoder = nn.Linear(5, 5, bias=False)
        self.decoder.weight = self.encoder.weight


class WithBuffers(nn.Module):
    """One parameter, and buffers of several kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.register_buffer("mean", torch.tensor([0.5, 1.5]))
        self.register_buffer("steps", torch.tensor(7))
        self.register_buffer("flag", torch.tensor([True, False]))
        self.register_buffer("cache", torch.zeros(3), persistent=False)


def roles(model: nn.Module, groups: list[dict[str, object]] | None = None) -> dict[str, Role]:
    return {spec.name: spec.role for spec in manifest_of(model, groups).tensors}


def flat_of(model: nn.Module) -> FlatModel:
    return FlatModel(model, manifest_of(model))


def test_a_shared_parameter_appears_once_under_its_first_name():
    assert roles(Tied()) == {"encoder.weight": Role.PARAMETER}


def test_persistent_buffers_travel_and_others_do_not():
    assert roles(WithBuffers()) == {
        "weight": Role.PARAMETER,
        "mean": Role.BUFFER,
        "steps": Role.BUFFER,
        "flag": Role.BUFFER,
    }


def test_a_parameter_without_gradient_or_in_no_group_is_frozen():
    model = perceptron()
    model[0].bias.requires_grad_(False)
    groups = [{"params": [model[0].weight]}, {"params": [model[2].bias], "weight_decay": 0}]
    assert roles(model, groups) == {
        "0.weight": Role.PARAMETER,
        "0.bias": Role.FROZEN,
        "2.weight": Role.FROZEN,
        "2.bias": Role.PARAMETER,
    }
    manifest = manifest_of(model, groups)
    assert manifest.groups == ({}, {"weight_decay": 0.0})
    assert {spec.name: spec.group for spec in manifest.tensors if spec.role is Role.PARAMETER} == {
        "0.weight": 0,
        "2.bias": 1,
    }


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            lambda _: [{"params": [nn.Parameter(torch.zeros(3))]}],
            r"param_groups\[0\].*\[3\].*no parameter of the model",
        ),
        (
            lambda model: [{"params": [model[0].bias]}, {"params": [model[0].bias]}],
            r"param_groups\[1\].*group 0 already",
        ),
        (lambda _: [{"params": []}], "got no trainable parameter"),
    ],
)
def test_groups_that_do_not_fit_the_model_are_refused(groups, message):
    model = perceptron()
    with pytest.raises(ModelMismatchError, match=message):
        manifest_of(model, groups(model))


def test_an_option_that_is_no_number_is_refused_by_name():
    model = perceptron()
    with pytest.raises(UsageError, match=r"param_groups\[0\]\['betas'\]: got \(0.9, 'b'\), want a number"):
        manifest_of(model, [{"params": list(model.parameters()), "betas": (0.9, "b")}])


def test_a_lazy_module_is_refused_with_what_to_do():
    with pytest.raises(ModelMismatchError, match="weight: got a lazy tensor without a shape, want one batch"):
        manifest_of(nn.LazyLinear(3))


def test_complex_parameters_are_refused():
    with pytest.raises(ModelMismatchError, match=r"weight: got dtype torch\.complex64, want real numbers"):
        manifest_of(nn.Linear(2, 2, dtype=torch.complex64))


def test_gradients_are_read_in_layout_order_and_none_is_zero():
    model = perceptron()
    model[0].weight.grad = torch.randn(64, 80)
    model[2].bias.grad = torch.arange(4.0)
    flat = flat_of(model)
    out = np.full(flat.layout.n_parameters, 9, np.float32)
    flat.read_gradients(out)
    for name, parameter in model.named_parameters():
        expected = torch.zeros(parameter.shape) if parameter.grad is None else parameter.grad
        assert_array_equal(out[flat.layout.slots[name]], expected.numpy().ravel(), name)


def test_a_sparse_gradient_counts_with_all_its_entries():
    model = nn.Embedding(6, 2, sparse=True)
    model(torch.tensor([1, 4])).sum().backward()
    out = np.empty(12, np.float32)
    flat_of(model).read_gradients(out)
    assert_array_equal(out.reshape(6, 2).sum(1), [0, 2, 0, 0, 2, 0])


def test_half_precision_gradients_travel_as_float32():
    model = nn.Linear(3, 2, bias=False, dtype=torch.bfloat16)
    model.weight.grad = torch.tensor([[1, 2, 3], [4, 5, 6]], dtype=torch.bfloat16)
    out = np.empty(6, np.float32)
    flat_of(model).read_gradients(out)
    assert_array_equal(out, [1, 2, 3, 4, 5, 6])


def test_a_gradient_of_a_parameter_that_was_frozen_is_an_error_not_ignored():
    model = perceptron()
    model[0].requires_grad_(False)
    flat = flat_of(model)
    model[0].requires_grad_(True)
    model(torch.ones(1, 80)).sum().backward()
    with pytest.raises(UsageError, match=r"0\.weight: got a gradient, but it was frozen"):
        flat.read_gradients(np.empty(flat.layout.n_parameters, np.float32))


@pytest.mark.parametrize("build", [perceptron, normalized, Tied, WithBuffers])
def test_weights_read_and_loaded_are_the_same_bits(build):
    model, other = build(), build()
    for tensor in other.state_dict().values():
        tensor.zero_()
    flat_of(other).load(flat_of(model).read_weights())
    assert_same_state(state_of(other), state_of(model))


def test_integers_are_rounded_to_the_nearest():
    model = WithBuffers()
    flat = flat_of(model)
    values = flat.read_weights()
    values[flat.layout.slots["steps"]] = 8.6
    values[flat.layout.slots["flag"]] = [0.4, 0.6]
    flat.load(values)
    assert model.steps == 9
    assert model.flag.tolist() == [False, True]


def test_buffers_are_read_where_the_module_keeps_them_now():
    model = WithBuffers()
    flat = flat_of(model)
    model.mean = torch.tensor([3.0, 4.0])
    out = np.zeros(flat.layout.size, np.float32)
    flat.read_buffers(out)
    assert_array_equal(out[flat.layout.slots["mean"]], [3, 4])


def test_a_buffer_that_is_not_finite_is_refused_by_name():
    model = WithBuffers()
    model.mean[1] = float("inf")
    with pytest.raises(NonFiniteError, match="mean: got inf at entry 1"):
        flat_of(model).read_buffers(np.zeros(7, np.float32))


def test_an_integer_that_float32_cannot_hold_is_refused():
    model = WithBuffers()
    model.steps.fill_(2**24 + 1)
    with pytest.raises(ModelMismatchError, match=r"steps: holds the integer 16777217, want at most 16777216"):
        flat_of(model).read_weights()


@pytest.mark.gpu
def test_a_model_on_the_gpu_reads_and_loads_the_same_bits(cuda):
    model = normalized().to(cuda)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    flat = flat_of(model)
    out = flat.compute.new_vector(flat.layout.size)
    assert torch.from_numpy(out).is_pinned()
    flat.read_gradients(out)
    for name, parameter in model.named_parameters():
        assert_array_equal(out[flat.layout.slots[name]], parameter.grad.cpu().numpy().ravel(), name)
    other = normalized(seed=1).to(cuda)
    flat_of(other).load(flat.read_weights())
    assert_same_state(state_of(other), state_of(model))
