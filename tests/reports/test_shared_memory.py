"""Parameters in the same memory are one; tensors that overlap otherwise, or hold no numbers, are refused by name."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing._internal.two_tensor import TwoTensor

from gradwire_common.errors import ModelMismatchError, UnavailableError
from gradwire_common.layout.manifest import Role
from gradwire_worker.compute.flat_model import FlatModel, manifest_of
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.session import SessionOptions
from gradwire_worker.sources.during_backward import DuringBackward
from gradwire_worker.sources.in_step import InStep
from gradwire_worker.sources.local_steps import LocalSteps
from running import running_server
from worker.toys import assert_same_state, server_config, state_of

TOKENS = torch.arange(20)
Tie = Callable[["Language"], None]


class Language(nn.Module):
    """An embedding, and a head of the same shape that `tie` may lay over it."""

    def __init__(self, tie: Tie) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.into, self.out = nn.Embedding(20, 8), nn.Linear(8, 20, bias=False)
        self.norm = nn.LayerNorm(8)
        tie(self)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.out(self.norm(self.into(tokens)))


def by_object(model: Language) -> None:
    model.out.weight = model.into.weight


def by_data(model: Language) -> None:
    model.out.weight.data = model.into.weight.data


def by_a_new_parameter(model: Language) -> None:
    model.out.weight = nn.Parameter(model.into.weight.detach())


def by_a_view_of_a_flat_tensor(model: Language) -> None:
    flat = torch.cat([torch.zeros(40), model.into.weight.detach().reshape(-1)])
    model.into.weight.data, model.out.weight.data = flat[40:].view(20, 8), flat.narrow(0, 40, 160).view(20, 8)


def by_two_storages_over_one_array(model: Language) -> None:
    array = model.into.weight.detach().numpy()
    model.into.weight.data, model.out.weight.data = torch.from_numpy(array), torch.from_numpy(array)


ALIASES = [by_data, by_a_new_parameter, by_a_view_of_a_flat_tensor, by_two_storages_over_one_array]


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 10) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(TOKENS), TOKENS).backward()
        optimizer.step()


def remotely(runs: Path, model: nn.Module, **settings: object) -> None:
    with (
        running_server(server_config(runs, lr=0.5)) as server,
        RemoteOptimizer(model, server.address, session=SessionOptions(patience=60), **settings) as optimizer,
    ):
        train(model, optimizer)


@pytest.mark.parametrize("tie", ALIASES)
def test_parameters_in_the_same_memory_train_as_tied_ones_do_in_torch(tmp_path, tie):
    remote, tied, twice = Language(tie), Language(by_object), Language(tie)
    train(tied, torch.optim.SGD(tied.parameters(), lr=0.5))
    train(twice, torch.optim.SGD(twice.parameters(), lr=0.5))
    remotely(tmp_path, remote)
    assert_same_state(state_of(remote), state_of(tied))
    for name, tensor in state_of(twice).items():  # torch rounds twice where it steps both objects
        torch.testing.assert_close(state_of(remote)[name], tensor)


@pytest.mark.parametrize(
    "settings",
    [{"source": DuringBackward()}, {"source": InStep(delay=1)}, {"source": LocalSteps(1, "SGD", lr=0.5)}],
)
def test_parameters_in_the_same_memory_go_with_every_way_to_step(tmp_path, settings):
    model, other = Language(by_data), Language(by_object)
    remotely(tmp_path / "data", model, **settings)
    remotely(tmp_path / "object", other, **settings)
    for name, tensor in state_of(other).items():
        torch.testing.assert_close(state_of(model)[name], tensor)
    assert torch.equal(model.into.weight, model.out.weight)


def test_the_first_name_stands_for_all_and_gradients_add_up():
    model = Language(by_data)
    manifest = manifest_of(model)
    assert [spec.name for spec in manifest.tensors] == ["into.weight", "norm.weight", "norm.bias"]
    model.into.weight.grad, model.out.weight.grad = torch.full((20, 8), 1.0), torch.full((20, 8), 2.0)
    gradients = dict(FlatModel(model, manifest).gradients())
    assert torch.equal(gradients["into.weight"], torch.full((20, 8), 3.0))
    model.into.weight.grad = None
    assert torch.equal(dict(FlatModel(model, manifest).gradients())["into.weight"], torch.full((20, 8), 2.0))


def test_a_frozen_parameter_in_the_memory_of_a_trained_one_follows_it(tmp_path):
    remote, local = Language(by_data), Language(by_data)
    for model in (remote, local):
        model.into.weight.requires_grad_(False)
    train(local, torch.optim.SGD([p for p in local.parameters() if p.requires_grad], lr=0.5))
    remotely(tmp_path, remote)
    assert_same_state(state_of(remote), state_of(local))


def test_a_group_with_one_of_them_has_all_of_them(tmp_path):
    model = Language(by_data)
    groups = [{"params": [model.out.weight], "lr": 1.0}, {"params": model.norm.parameters()}]
    with (
        running_server(server_config(tmp_path)) as server,
        RemoteOptimizer(model, server.address, param_groups=groups) as optimizer,
    ):
        assert {id(p) for p in optimizer.param_groups[0]["params"]} == {id(model.into.weight), id(model.out.weight)}
        train(model, optimizer, 2)
    with pytest.raises(ModelMismatchError, match=r"param_groups\[1\].*\[20, 8\] that is in group 0 already"):
        RemoteOptimizer(model, "127.0.0.1:1", param_groups=[{"params": [p]} for p in model.parameters()])


def slices_of_rows() -> nn.Module:
    flat = torch.randn(6, 4)
    return nn.ParameterList([nn.Parameter(flat[:4]), nn.Parameter(flat[4:])])


def interleaved_columns() -> nn.Module:
    flat = torch.randn(6, 4)
    return nn.ParameterList([nn.Parameter(flat[:, :1]), nn.Parameter(flat[:, 1:3]), nn.Parameter(flat[:, 3])])


def one_module_under_two_names() -> nn.Module:
    layer = nn.Linear(2, 2)
    return nn.ModuleDict({"first": layer, "second": layer})


def one_parameter_in_two_lists() -> nn.Module:
    parameter = nn.Parameter(torch.zeros(3))
    return nn.ModuleList([nn.ParameterList([parameter]), nn.ParameterList([parameter, parameter])])


def of_all_shapes() -> nn.Module:
    return nn.ParameterList(
        nn.Parameter(tensor) for tensor in (torch.tensor(1.0), torch.ones(0, 3), torch.ones(2, 3).t(), torch.ones(0))
    )


def normed_by_parametrization() -> nn.Module:
    return nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))


def with_whole_numbers() -> nn.Module:
    module = nn.Linear(2, 1)
    module.register_parameter("table", nn.Parameter(torch.arange(3), requires_grad=False))
    return module


def with_buffers_in_one_memory() -> nn.Module:
    module, zeros = nn.Linear(2, 1), torch.zeros(3)
    module.register_buffer("one", zeros)
    module.register_buffer("other", zeros)
    module.register_buffer("view", module.weight.detach().t(), persistent=False)
    return module


@pytest.mark.parametrize(
    ("build", "names"),
    [
        (slices_of_rows, ["0", "1"]),
        (interleaved_columns, ["0", "1", "2"]),
        (one_module_under_two_names, ["first.weight", "first.bias"]),
        (one_parameter_in_two_lists, ["0.0"]),
        (of_all_shapes, ["0", "1", "2", "3"]),
        (
            normed_by_parametrization,
            ["bias", "parametrizations.weight.original0", "parametrizations.weight.original1"],
        ),
        (with_whole_numbers, ["weight", "bias", "table"]),
        (with_buffers_in_one_memory, ["weight", "bias", "one", "other"]),
        (
            lambda: nn.LSTM(2, 3),
            ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"],
        ),
    ],
)
def test_what_has_memory_of_its_own_travels_by_name(build, names):
    torch.manual_seed(0)
    model = build()
    manifest = manifest_of(model)
    assert [spec.name for spec in manifest.tensors] == names
    flat = FlatModel(model, manifest)
    before, weights = state_of(model), flat.read_weights()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    flat.load(weights)
    assert_same_state(state_of(model), before)


def with_parameter(build: Callable[[torch.Tensor], torch.Tensor], **kwargs: object) -> nn.Module:
    module = nn.Linear(4, 4)
    module.register_parameter("odd", nn.Parameter(build(module.weight.detach()), **kwargs))
    return module


def with_buffer(build: Callable[[torch.Tensor], torch.Tensor]) -> nn.Module:
    module = nn.Linear(4, 4)
    module.register_buffer("odd", build(module.weight.detach()))
    return module


def made_under_inference_mode(weight: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return torch.ones(4)


def freed(weight: torch.Tensor) -> torch.Tensor:
    tensor = torch.ones(4)
    tensor.untyped_storage().resize_(0)
    return tensor


def with_overlapping_frozen_ones() -> nn.Module:
    model, flat = nn.Linear(2, 2), torch.randn(10)
    model.register_parameter("first", nn.Parameter(flat[:6], requires_grad=False))
    model.register_buffer("second", flat[5:])
    return model


REFUSED = [
    (
        lambda: with_parameter(lambda weight: weight[1:3]),
        r"weight \(shape \[4, 4\].* and odd \(shape \[2, 4\].*overlap",
    ),
    (
        lambda: with_parameter(lambda weight: weight.t()),
        r"weight .*strides \[4, 1\].* and odd .*strides \[1, 4\].*overlap",
    ),
    (lambda: with_parameter(lambda weight: weight.view(-1)), r"weight .* and odd \(shape \[16\].*overlap in memory"),
    (lambda: with_parameter(lambda weight: weight[:, 1:3]), r"weight .* and odd \(shape \[4, 2\].*overlap in memory"),
    (lambda: with_parameter(lambda weight: weight.view(torch.int32), requires_grad=False), "weight .* and odd .*int32"),
    (with_overlapping_frozen_ones, r"first .*\[6\].* and second .*\[5\].*overlap in memory"),
    (
        lambda: with_parameter(lambda _: torch.ones(1).expand(4)),
        r"odd: got shape \[4\] with strides \[0\], an expanded",
    ),
    (lambda: with_parameter(lambda _: torch.ones(5).unfold(0, 2, 1)), r"odd: got shape \[4, 2\] with strides \[1, 1\]"),
    (lambda: with_buffer(lambda _: torch.ones(3, 1).expand(3, 2)), r"odd: got shape \[3, 2\] with strides \[1, 0\]"),
    (lambda: with_buffer(lambda weight: weight), "odd: got a buffer .* in the memory of parameter weight"),
    (lambda: with_buffer(lambda weight: weight[0]), r"weight .* and odd \(shape \[4\].*overlap in memory"),
    (
        lambda: with_parameter(lambda _: torch.ones(4, device="meta")),
        r"odd: got a tensor of shape \[4\] on device meta",
    ),
    (lambda: with_buffer(lambda _: torch.ones(4, device="meta")), r"odd: got a tensor of shape \[4\] on device meta"),
    (lambda: nn.Linear(2, 2, device="meta"), r"weight: got a tensor of shape \[2, 2\] on device meta"),
    (lambda: nn.Sequential(nn.LazyConv2d(2, 3)), "0.weight: got a lazy tensor"),
    (lambda: nn.LazyBatchNorm1d(affine=False), "running_mean: got a lazy tensor"),
    (lambda: with_parameter(lambda _: torch.eye(3).to_sparse()), r"odd: got layout torch\.sparse_coo, want a dense"),
    (lambda: with_buffer(lambda _: torch.eye(3).to_sparse_coo()), r"odd: got layout torch\.sparse_coo, want a dense"),
    (
        lambda: with_parameter(lambda _: torch.ones(2, dtype=torch.cfloat)),
        r"odd: got dtype torch\.complex64, want real",
    ),
    (lambda: with_buffer(lambda _: torch.ones(2).to(torch.float8_e4m3fnuz)), r"odd: got dtype torch\.float8_e4m3fnuz"),
    (lambda: with_parameter(freed), r"odd: got a Parameter of shape \[4\] without memory of its own"),
    (lambda: with_buffer(lambda _: TwoTensor(torch.ones(4), torch.ones(4))), "odd: got a TwoTensor .* without memory"),
    (
        lambda: with_buffer(lambda _: torch.nested.nested_tensor([torch.ones(2)])),
        "odd: got layout nested, want a dense",
    ),
    (lambda: with_buffer(made_under_inference_mode), "odd: got a tensor made under torch.inference_mode"),
    (lambda: nn.ReLU(), "got no trainable parameter"),
    (lambda: nn.BatchNorm1d(3, affine=False), "got no trainable parameter"),
    (lambda: nn.Linear(2, 2).requires_grad_(False), "got no trainable parameter"),
]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(("build", "message"), REFUSED)
def test_what_cannot_be_trained_is_refused_by_name_before_any_call(build, message):
    with pytest.raises(ModelMismatchError, match=message):
        RemoteOptimizer(
            build(), "127.0.0.1:1", session=SessionOptions(patience=0.1)
        )  # nobody listens there: a call would be the other error


def test_nobody_answers_at_the_address_of_the_test_above():
    with pytest.raises(UnavailableError):
        RemoteOptimizer(nn.Linear(2, 2), "127.0.0.1:1", session=SessionOptions(patience=0.1))


def test_a_model_of_empty_and_single_entries_trains(tmp_path):
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale, self.nothing = nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.ones(0, 3))

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.scale * torch.eye(20)[tokens] + self.nothing.sum()

    remote, local = Scaled(), Scaled()
    train(local, torch.optim.SGD(local.parameters(), lr=0.5))
    remotely(tmp_path, remote)
    assert_same_state(state_of(remote), state_of(local))
    assert {spec.name: spec.role for spec in manifest_of(local).tensors} == {
        "scale": Role.PARAMETER,
        "nothing": Role.PARAMETER,
    }
