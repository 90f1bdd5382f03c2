"""A run's tensors have the names of the model without wrappers, and its weights file loads into that model."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from gradwire_common.errors import ModelMismatchError, UsageError
from gradwire_worker.checkpoint.weights_file import load_weights
from gradwire_worker.compute.flat_model import manifest_of
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.session import SessionOptions
from running import eventually, running_server
from worker.toys import assert_same_state, batches, normalized, perceptron, server_config, state_of, take_step


def names_of(model: nn.Module) -> list[str]:
    return [spec.name for spec in manifest_of(model).tensors]


def compiled(model: nn.Module) -> nn.Module:
    return torch.compile(model, backend="eager")


def compiled_inside(model: nn.Module) -> nn.Module:
    model[0] = compiled(model[0])
    return model


def compiled_inside_and_out(model: nn.Module) -> nn.Module:
    return compiled(compiled_inside(model))


def in_data_parallel_in_compile(model: nn.Module) -> nn.Module:
    return compiled(nn.DataParallel(model))


class OwnParallel(nn.DataParallel):
    """A subclass of a wrapper, which wraps too."""


def checkpointed_inside(model: nn.Module) -> nn.Module:
    model[0] = checkpoint_wrapper(model[0])
    return model


WRAPPERS = [
    compiled,
    compiled_inside,
    compiled_inside_and_out,
    nn.DataParallel,
    OwnParallel,
    in_data_parallel_in_compile,
    checkpointed_inside,
]


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_wrappers_add_nothing_to_names(wrap):
    assert manifest_of(wrap(normalized())) == manifest_of(normalized())


def test_distributed_data_parallel_adds_nothing_to_names():
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(normalized())
        assert manifest_of(wrapped) == manifest_of(normalized())
    finally:
        torch.distributed.destroy_process_group()


class Named(nn.Module):
    """A model whose own parts are called as wrappers call theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.module, self._orig_mod = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2))
        self._fsdp_wrapped_module = nn.ModuleDict({"module": nn.Linear(2, 2, bias=False)})


class DataParallel(Named):
    """A module of a user's own, called as one of torch's."""


@pytest.mark.parametrize("kind", [Named, DataParallel])
def test_a_users_own_module_keeps_its_name(kind):
    names = [
        "module.weight",
        "module.bias",
        "_orig_mod.0.weight",
        "_orig_mod.0.bias",
        "_fsdp_wrapped_module.module.weight",
    ]
    assert names_of(kind()) == names == [name for name, _ in kind().named_parameters()]
    assert names_of(compiled(kind())) == names


def test_names_are_those_that_torch_gives_a_model_without_wrappers():
    for model in (normalized(), nn.Transformer(8, 2, 1, 1, 8, batch_first=True), nn.GRU(2, 2, 2, bidirectional=True)):
        persistent = model.state_dict()
        buffers = [name for name, _ in model.named_buffers() if name in persistent]
        assert names_of(model) == [name for name, _ in model.named_parameters()] + buffers


def test_a_wrapped_and_a_plain_worker_train_in_one_run(tmp_path):
    data = batches(3)
    with running_server(server_config(tmp_path, rounds=3)) as server:
        first, second = compiled_inside(perceptron()), perceptron(seed=1)
        with RemoteOptimizer(compiled(first), server.address, session=SessionOptions(worker_id="w")) as optimizer:
            take_step(first, optimizer, data[0])
        with RemoteOptimizer(second, server.address, session=SessionOptions(worker_id="w")) as optimizer:
            assert_same_state(state_of(second), state_of(wrapperless(first)))
            take_step(second, optimizer, data[1])
        parallel = nn.DataParallel(perceptron(seed=2))
        with RemoteOptimizer(parallel, server.address, session=SessionOptions(worker_id="w")) as optimizer:
            take_step(parallel, optimizer, data[2])
        eventually(lambda: (tmp_path / "run" / "weights.safetensors").exists())
        assert_loads(tmp_path, perceptron(seed=3), parallel.module)
        assert_loads(tmp_path, nn.DataParallel(perceptron(seed=3)), parallel)
        assert_loads(tmp_path, compiled(perceptron(seed=3)), compiled(parallel.module))


def wrapperless(model: nn.Sequential) -> nn.Sequential:
    return nn.Sequential(*[getattr(layer, "_orig_mod", layer) for layer in model])


def assert_loads(runs: Path, into: nn.Module, expected: nn.Module) -> None:
    load_weights(into, runs / "run" / "weights.safetensors")
    assert_same_state(state_of(into), state_of(expected))


class Language(nn.Module):
    """An embedding whose weights the head may share, by object or by memory."""

    def __init__(self, tie: str = "object") -> None:
        super().__init__()
        self.into, self.out, self.norm = nn.Embedding(80, 8), nn.Linear(8, 80, bias=False), nn.BatchNorm1d(8)
        if tie == "object":
            self.out.weight = self.into.weight
        if tie == "memory":
            self.out.weight.data = self.into.weight.data

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.norm(self.into(x.argmax(1))))


class AsFloat(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float()


class TiedTwice(Language):
    """Three names for one weight, and a layer under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.again = nn.Linear(8, 80, bias=False)
        self.again.weight = self.out.weight
        self.normed = self.norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.again(self.normed(self.into(x.argmax(1))))


@pytest.mark.parametrize(
    "build",
    [
        normalized,
        Language,
        TiedTwice,
        lambda: Language("memory"),
        lambda: Language("no"),
        lambda: nn.Sequential(
            nn.utils.parametrizations.weight_norm(nn.Linear(80, 4)), nn.BatchNorm1d(4).half().float()
        ),
    ],
)
def test_the_weights_file_loads_by_the_documented_call(tmp_path, build: Callable[[], nn.Module]):
    model = build()
    shape = (1, 8, 8) if isinstance(model, nn.Sequential) and isinstance(model[0], nn.Conv2d) else (80,)
    with running_server(server_config(tmp_path, rounds=2, buffers_every=1)) as server:
        with RemoteOptimizer(model, server.address) as optimizer:
            for batch in batches(2, shape):
                take_step(model, optimizer, batch)
        file = tmp_path / "run" / "weights.safetensors"
        eventually(file.exists)
    assert_loads(tmp_path, build(), model)
    with safe_open(file, "pt") as tensors:
        assert set(tensors.keys()) == set(names_of(model))


def test_weights_of_another_model_are_refused_and_nothing_is_loaded(tmp_path):
    file = tmp_path / "weights.safetensors"
    save_file({"0.weight": torch.ones(64, 80), "0.bias": torch.ones(64), "2.weight": torch.ones(4, 63)}, file)
    model, before = perceptron(), state_of(perceptron())
    with pytest.raises(
        ModelMismatchError, match=r"2.bias \[4\] is missing; 2.weight has shape \[4, 63\], want \[4, 64\]"
    ):
        load_weights(model, file)
    save_file({**before, "3.weight": torch.ones(2)}, file)
    with pytest.raises(ModelMismatchError, match=r"3.weight \[2\] is not in the model; nothing was loaded"):
        load_weights(model, file)
    assert_same_state(state_of(model), before)


@pytest.mark.parametrize("content", [b"", b"no safetensors at all", None])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    file = tmp_path / "weights.safetensors"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=r"weights.safetensors: cannot be read as safetensors"):
        load_weights(perceptron(), file)


@pytest.mark.parametrize("page", ["README.md", "docs/training.md"])
def test_docs_show_the_call(page):
    assert 'load_weights(model, "runs/run/weights.safetensors")' in (Path(__file__).parents[2] / page).read_text()
