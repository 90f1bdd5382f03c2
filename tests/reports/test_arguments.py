"""What is given to a RemoteOptimizer is a thing that can be, or refused in a sentence before anything has changed."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gradwire_common.errors import UsageError
from gradwire_common.transport.bounds import MAX_SAMPLES
from gradwire_worker.arguments import loss_number, whole_number
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.session import SessionOptions
from gradwire_worker.sources.local_steps import LocalSteps
from running import running_server
from worker.toys import assert_same_state, batches, perceptron, server_config, state_of, take_step

NOWHERE = "127.0.0.1:1"  # nobody listens there: what is refused first has called nobody
NAN = float("nan")


@pytest.mark.parametrize(
    "value",
    [1, 8.0, MAX_SAMPLES, torch.tensor(3), torch.tensor([3]), torch.tensor(3.0), np.int64(3), np.array([[3]])],
)
def test_whole_numbers_of_any_type_are_samples(value):
    number = whole_number("samples", value, 1, MAX_SAMPLES)
    assert number == value
    assert type(number) is int


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (NAN, "nan"),
        (float("inf"), "inf"),
        (None, "None"),
        (0, "0"),
        (-1, "-1"),
        (2**32 + 1, "4294967297"),
        (2**64, "18446744073709551616"),
        (10**400, r"1000\d*\.\.\.\d*0000"),
        (2.5, r"2\.5"),
        (True, "True"),
        ("8", "'8'"),
        ([8], r"\[8\]"),
        (1j, "1j"),
        (Fraction(8, 1), r"Fraction\(8, 1\)"),
        (torch.tensor(2.5), r"tensor\(2\.5000\)"),
        (torch.tensor(True), "a Tensor of shape"),
        (torch.ones(64, 10), r"a Tensor of shape \[64, 10\]"),
        (torch.ones((), device="meta"), r"a Tensor of shape \[\]"),
        (torch.tensor(NAN), r"tensor\(nan\)"),
        (np.ones(3), r"a ndarray of shape \[3\]"),
    ],
)
def test_other_samples_are_refused_with_what_was_got_and_is_wanted(value, told):
    with pytest.raises(UsageError, match=f"^samples: got {told}.*, want a whole number from 1 to 4294967296$"):
        whole_number("samples", value, 1, MAX_SAMPLES)


@pytest.mark.parametrize("value", ["low", [1.0], 1j, 10**400, torch.ones(3), torch.ones(1, device="meta"), np.ones(2)])
def test_a_loss_is_one_number(value):
    with pytest.raises(UsageError, match=r"loss: got .*, want one number"):
        loss_number(value)
    assert loss_number(torch.tensor([0.5])) == loss_number(np.float32(0.5)) == loss_number(0.5) == 0.5
    assert np.isnan(loss_number(None))


def test_a_step_with_impossible_samples_or_loss_pushes_nothing(tmp_path):
    model, data = perceptron(), batches(3)
    with running_server(server_config(tmp_path)) as server, RemoteOptimizer(model, server.address) as optimizer:
        before = state_of(model)
        for report in ({"samples": NAN}, {"samples": 2**64}, {"samples": 0}, {"loss": torch.ones(2)}):
            with pytest.raises(UsageError, match=r"(samples|loss): got"):
                take_step(model, optimizer, data[0], **report)
        assert_same_state(state_of(model), before)
        take_step(model, optimizer, data[1], samples=torch.tensor(8))
        assert (optimizer.version, optimizer.last_step.samples) == (1, 8)
        for samples, metrics in [(0, {"mse": 1}), (1.5, {"mse": 1}), (1, {"mse": "low"}), (1, {"mse": None}), (1, {})]:
            with pytest.raises(UsageError, match=r"(samples|mse|evaluation): got"):
                optimizer.report(samples, **metrics)


def local(*names: str, **options: object) -> Callable[[], dict[str, object]]:
    return lambda: {"source": LocalSteps(2, *names, **options)}


def session(**options: object) -> Callable[[], dict[str, object]]:
    return lambda: {"session": SessionOptions(**options)}


def try_to_join(arguments: dict[str, object] | Callable[[], dict[str, object]]) -> None:
    given = arguments() if callable(arguments) else arguments
    options = SessionOptions(worker_id="w", patience=0.1)
    RemoteOptimizer(perceptron(), NOWHERE, **{"session": options, **given})


def test_constructor_arguments_that_cannot_be_are_refused_before_any_call(tmp_path):
    file = tmp_path / "file"
    file.write_text("not a folder")
    (tmp_path / "taken" / "w.worker").mkdir(parents=True)
    for arguments, message in [
        (session(slot=-1), "slot: got -1, want a whole number from 0"),
        (session(slot=2**40), "slot: got 1099511627776"),
        (session(slot="0"), "slot: got '0'"),
        (session(settings="seed"), "settings: got 'seed', want a dict"),
        (session(settings={"seed": [0]}), r"settings: got 'seed': \[0\], want a text or a number"),
        (lambda: {"source": LocalSteps(0)}, "local_steps: got 0, want a whole number from 1"),
        (lambda: {"source": LocalSteps(2.5)}, r"local_steps: got 2\.5"),
        ({"source": "SGD"}, r"source: got 'SGD', want one such as InStep\(\)"),
        ({"session": "w"}, r"session: got 'w', want one such as SessionOptions\(\)"),
        ({"coding": "dct"}, r"coding: got 'dct', want one such as Coding\(\)"),
        (local("Sgd"), "local_optimizer: got 'Sgd', want one of"),
        (local(options={"momentun": 0.9}), "unknown option 'momentun'"),
        (local(schedule="Cosine"), "local_schedule: got 'Cosine', want one of"),
        (local(schedule="StepLR"), "schedule StepLR: option 'step_size' is missing"),
        (local("Adagrad", schedule="OneCycleLR"), r"local_schedule OneCycleLR\(.*momentum"),
        ({"param_groups": 5}, "param_groups: got int, want a list of dicts"),
        ({"param_groups": {"params": []}}, "param_groups: got dict, want a list of dicts"),
        ({"param_groups": [{"lr": 1.0}]}, r"param_groups\[0\]: got {'lr': 1.0}, want a list of dicts"),
        ({"param_groups": [{"params": [("weight", 1)]}]}, r"param_groups\[0\]: params have \('weight', 1\)"),
        ({"state": 5}, "state: got 5, want the path of a folder"),
        ({"state": file}, r"state: cannot write .*file/w.worker: .*; want a folder that this process can write to"),
        ({"state": file / "below"}, r"state: cannot write .*file/below/w.worker"),
        ({"state": "/dev/null/x"}, "state: cannot write /dev/null/x/w.worker"),
        ({"state": "/proc/gradwire"}, "state: cannot write /proc/gradwire/w.worker"),
        ({"state": "a\0b"}, "state: cannot write"),
        ({"state": tmp_path / "taken"}, "state: cannot write .*/taken/w.worker: .* is a folder"),
        ({"state": tmp_path / ("x" * 300)}, "state: cannot write .*File name too long"),
    ]:
        with pytest.raises(UsageError, match=message):
            try_to_join(arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken"]


def test_a_state_folder_is_made_and_nothing_but_the_claim_is_left_in_it(tmp_path):
    folder = tmp_path / "new" / "below"
    with (
        running_server(server_config(tmp_path / "runs")) as server,
        RemoteOptimizer(perceptron(), server.address, state=str(folder), session=SessionOptions(worker_id="w")),
    ):
        assert [path.name for path in folder.iterdir()] == ["w.claim"]


def test_param_groups_have_every_form_that_torch_takes(tmp_path):
    model = perceptron()
    for groups in (
        model.parameters(),
        [{"params": model.parameters()}],
        [{"params": model[0].weight}, {"params": [model[2].weight], "lr": 0.5}],
    ):
        settings = server_config(tmp_path / str(len(list(tmp_path.iterdir()))))
        with (
            running_server(settings) as server,
            RemoteOptimizer(model, server.address, param_groups=groups) as optimizer,
        ):
            take_step(model, optimizer, batches(1)[0])
            assert optimizer.last_step.counted


LOCAL = LocalSteps(1, "SGD", lr=0.1, options={"momentum": 0.9})


@pytest.fixture(scope="module")
def stepped(tmp_path_factory) -> SimpleNamespace:
    """Two optimizers that have stepped, one with local steps, and their states."""
    runs: Path = tmp_path_factory.mktemp("runs")
    with (
        running_server(server_config(runs / "a", quantizer="uniform")) as server,
        running_server(server_config(runs / "b", optimizer="FedAvg")) as other,
    ):
        models = [perceptron(), perceptron()]
        with (
            RemoteOptimizer(models[0], server.address) as plain,
            RemoteOptimizer(models[1], other.address, source=LOCAL) as local,
        ):
            for model, optimizer in zip(models, (plain, local), strict=True):
                take_step(model, optimizer, batches(1)[0])
            yield SimpleNamespace(plain=plain, local=local)


def foreign(kind: str) -> dict[str, object]:
    model = perceptron()
    optimizer = getattr(torch.optim, kind)(model.parameters(), lr=0.1)
    take_step(model, optimizer, batches(1)[0])
    return optimizer.state_dict()


def with_momentum(state: dict[str, object], value: object) -> dict[str, object]:
    local = state["local"]
    return {**state, "local": {**local, "state": {**local["state"], 0: {"momentum_buffer": value}}}}


def with_nan(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.clone()
    tensor[3] = NAN
    return tensor


@pytest.mark.parametrize(
    ("which", "damage", "message"),
    [
        ("plain", lambda _: foreign("SGD"), r"got the keys \['param_groups', 'state'\], want 'residual' among them"),
        ("plain", lambda _: foreign("Adam"), r"got the keys \['param_groups', 'state'\], want 'residual' among them"),
        ("plain", lambda _: perceptron().state_dict(), r"got the keys \['0.bias', .*want 'residual' among them"),
        ("plain", lambda _: {}, r"got the keys \[\], want 'residual'"),
        ("plain", lambda _: None, "got None, want what RemoteOptimizer.state_dict"),
        ("plain", lambda state: {**state, "residual": None}, "residual is None, want a tensor of float32"),
        ("plain", lambda state: {**state, "residual": [0.0]}, r"residual is \[0.0\], want a tensor of float32"),
        ("plain", lambda state: {**state, "residual": state["residual"][1:]}, r"shape \[5443\], want \[5444\]"),
        ("plain", lambda state: {**state, "residual": state["residual"][None]}, r"shape \[1, 5444\], want \[5444\]"),
        ("plain", lambda state: {**state, "residual": state["residual"].int()}, "residual is a tensor of torch.int32"),
        ("plain", lambda state: {**state, "residual": state["residual"].to("meta")}, "float32 on meta, want a tensor"),
        ("plain", lambda state: {**state, "residual": with_nan(state["residual"])}, "residual has 1 entries that are"),
        ("plain", lambda state: {**state, "residual": state["residual"].double() + 1e300}, "residual has 5444 entries"),
        ("plain", lambda state: {**state, "local": foreign("SGD")}, "got one with the state of local steps, want one"),
        ("local", lambda state: {k: v for k, v in state.items() if k != "local"}, "got one without the state of local"),
        ("local", lambda state: {**state, "local": None}, "local is None, want the state_dict of SGD"),
        (
            "local",
            lambda state: {**state, "local": {"state": {}}},
            "local is {'state': {}}, want the state_dict of SGD",
        ),
        ("local", lambda state: {**state, "local": foreign("Adam")}, "local has parameter groups .* as this run's SGD"),
        (
            "local",
            lambda state: with_momentum(state, torch.ones(3)),
            r"0.momentum_buffer has shape \[3\], want .*\[64, 80",
        ),
        (
            "local",
            lambda state: with_momentum(state, torch.full((64, 80), NAN)),
            "local 0.momentum_buffer has 5120 ent",
        ),
        (
            "local",
            lambda state: {**state, "local": {**state["local"], "state": {9: {}}}},
            "local has state for 9, want",
        ),
    ],
)
def test_a_foreign_or_damaged_state_is_refused_and_nothing_changes(stepped, which, damage, message):
    optimizer = getattr(stepped, which)
    before = optimizer.state_dict()
    with pytest.raises(UsageError, match=f"^state_dict: .*{message}"):
        optimizer.load_state_dict(damage(optimizer.state_dict()))
    after = optimizer.state_dict()
    assert torch.equal(after["residual"], before["residual"])
    if which == "local":
        for index, held in before["local"]["state"].items():
            assert torch.equal(after["local"]["state"][index]["momentum_buffer"], held["momentum_buffer"])


@pytest.mark.parametrize("which", ["plain", "local"])
def test_its_own_state_is_taken(stepped, which, tmp_path):
    optimizer = getattr(stepped, which)
    state = optimizer.state_dict()
    torch.save({**state, "residual": state["residual"] + 1}, tmp_path / "state.pt")
    optimizer.load_state_dict(torch.load(tmp_path / "state.pt"))
    assert torch.equal(optimizer.state_dict()["residual"], state["residual"] + 1)
    optimizer.load_state_dict(state)
    assert torch.equal(optimizer.state_dict()["residual"], state["residual"])
