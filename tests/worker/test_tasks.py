"""The built-in tasks and one's own; data that cannot be used are named."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from gradwire_common.errors import TaskError
from gradwire_common.settings.config import Config
from gradwire_worker.evaluation import evaluate
from gradwire_worker.tasks import Classification, Task, load_task
from gradwire_worker.tasks.cifar10 import DEVIATION, MEAN, PADDING, crop_and_flip, normalize

CPU = torch.device("cpu")


def config(**settings: object) -> Config:
    return Config.load(None, settings)


def n_parameters(task: Task) -> int:
    return sum(parameter.numel() for parameter in task.model().parameters())


def cifar_images(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, n)


def write_binary(path: Path, images: np.ndarray, classes: np.ndarray) -> None:
    records = np.concatenate(
        [classes[:, None].astype(np.uint8), images.transpose(0, 3, 1, 2).reshape(len(images), -1)], 1
    )
    records.tofile(path)


def write_npz(path: Path, **changes: np.ndarray) -> Path:
    (x_train, y_train), (x_test, y_test) = cifar_images(6), cifar_images(4, 1)
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test, **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_digits_are_1797_images_of_which_360_always_the_same_are_for_testing():
    task = load_task(config(task="digits"))
    assert (task.n_train, task.n_test) == (1437, 360)
    assert n_parameters(task) == 85_066
    images, classes = task.test_batch(np.arange(3))
    assert images.shape == (3, 1, 8, 8)
    assert (images.min(), images.max()) == (0, 1)
    assert classes.tolist() == load_task(config(task="digits", seed=9)).test_batch(np.arange(3))[1].tolist()


def test_resnet20_has_the_stated_number_of_parameters(tmp_path):
    task = load_task(config(task="cifar10", data=write_npz(tmp_path / "data.npz")))
    assert n_parameters(task) == 272_474
    images, _ = task.train_batch(np.arange(2), np.random.default_rng(0))
    assert task.model()(images).shape == (2, 10)


@pytest.mark.parametrize("inner", ["", "cifar-10-batches-bin"])
def test_cifar10_reads_its_original_binary_format(tmp_path, inner):
    folder = tmp_path / inner
    folder.mkdir(exist_ok=True)
    first, second, test = cifar_images(5), cifar_images(3, 1), cifar_images(2, 2)
    for name, part in (("data_batch_1", first), ("data_batch_2", second), ("test_batch", test)):
        write_binary(folder / f"{name}.bin", *part)
    task = load_task(config(task="cifar10", data=tmp_path))
    assert isinstance(task, Classification)
    assert_array_equal(task.x_train, np.concatenate([first[0], second[0]]))
    assert_array_equal(task.y_train, np.concatenate([first[1], second[1]]))
    assert_array_equal(task.x_test, test[0])


def test_cifar10_reads_an_npz(tmp_path):
    task = load_task(config(task="cifar10", data=write_npz(tmp_path / "data.npz")))
    assert isinstance(task, Classification)
    assert_array_equal(task.x_train, cifar_images(6)[0])
    assert (task.n_train, task.n_test) == (6, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_test": None}, r"has arrays x_train, y_train, y_test, want x_test too"),
        ({"x_train": np.zeros((6, 32, 32, 3), np.float32)}, r"x_train is float32 \[6, 32, 32, 3\], want uint8"),
        (
            {"x_train": np.zeros((6, 3, 32, 32), np.uint8)},
            r"x_train is uint8 \[6, 3, 32, 32\], want uint8 \[n, 32, 32, 3\]",
        ),
        ({"y_train": np.zeros(5, np.int64)}, r"y_train is int64 \[5\], want 6 whole numbers"),
        ({"y_test": np.array([0, 1, 10, 2])}, "has class 10, want 0 to 9"),
        ({"x_test": np.array([{}], dtype=object)}, "cannot be read: .*allow_pickle"),
    ],
)
def test_arrays_that_are_not_cifar10_are_refused_by_name(tmp_path, changes, message):
    path = write_npz(tmp_path / "data.npz", **changes)
    with pytest.raises(TaskError, match=message):
        load_task(config(task="cifar10", data=path))


def test_data_that_are_not_there_are_named(tmp_path):
    with pytest.raises(TaskError, match="cifar10: got no data, want --data"):
        load_task(config(task="cifar10"))
    with pytest.raises(TaskError, match=f"{tmp_path} has no data_batch"):
        load_task(config(task="cifar10", data=tmp_path))
    with pytest.raises(TaskError, match=r"nothing\.npz cannot be read: .*No such file"):
        load_task(config(task="cifar10", data=tmp_path / "nothing.npz"))
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(TaskError, match=r"text\.npz cannot be read"):
        load_task(config(task="cifar10", data=tmp_path / "text.npz"))
    (tmp_path / "data_batch_1.bin").write_bytes(bytes(3074))
    (tmp_path / "test_batch.bin").write_bytes(bytes(3073))
    with pytest.raises(TaskError, match=r"data_batch_1\.bin has 3074 bytes, want a multiple of 3073"):
        load_task(config(task="cifar10", data=tmp_path))


def test_normalized_images_have_mean_zero_where_the_pixels_are_the_mean():
    images = np.broadcast_to(MEAN + DEVIATION, (2, 32, 32, 3))
    got = normalize(images)
    assert got.shape == (2, 3, 32, 32)
    np.testing.assert_allclose(got, 1, rtol=1e-5)


def test_a_crop_is_a_shift_or_its_mirror_image():
    images, _ = cifar_images(40)
    got = crop_and_flip(images, np.random.default_rng(0))
    filled = np.rint(MEAN).astype(np.uint8)
    padded = np.empty((40, 40, 40, 3), np.uint8)
    padded[:] = filled
    padded[:, PADDING:-PADDING, PADDING:-PADDING] = images
    shifts = 2 * PADDING + 1
    seen = set()
    for i in range(40):
        for top, left in np.ndindex(shifts, shifts):
            window = padded[i, top : top + 32, left : left + 32]
            for mirrored in (False, True):
                if np.array_equal(got[i], window[:, ::-1] if mirrored else window):
                    seen.add((i, mirrored))
    assert {i for i, _ in seen} == set(range(40))
    assert {mirrored for _, mirrored in seen} == {False, True}


@pytest.mark.parametrize("parameters", [1, 999_999, 1_000_000, 2_500_001])
def test_synthetic_has_exactly_as_many_parameters_as_asked_for(parameters):
    assert n_parameters(load_task(config(task="synthetic", parameters=parameters))) == parameters


def test_synthetic_gradients_are_the_weights_times_the_strength_of_the_batch():
    task = load_task(config(task="synthetic", parameters=5000))
    torch.manual_seed(0)
    model = task.model()
    batch = task.train_batch(np.arange(4), np.random.default_rng(1))
    task.loss(model, batch).backward()
    (tensor,) = model.parameters()
    torch.testing.assert_close(tensor.grad, batch[0] * tensor.detach())
    assert evaluate(task, model, np.arange(0), CPU) == {}


def test_evaluation_counts_right_answers_and_leaves_the_mode_as_it_was():
    x = np.eye(4, dtype=np.float32)
    task = Classification("own", "one-hot", lambda: torch.nn.Linear(4, 4), x, np.arange(4), x, np.array([0, 1, 2, 0]))
    model = task.model()
    with torch.no_grad():
        model.weight.copy_(10 * torch.eye(4))
        model.bias.zero_()
    model.train()
    metrics = evaluate(task, model, np.arange(4), CPU)
    assert (metrics["accuracy"].sum, metrics["accuracy"].count) == (3, 4)
    assert (metrics["loss"].sum, metrics["loss"].count) == (pytest.approx(10, abs=0.01), 4)
    assert model.training


def test_samples_without_a_class_each_are_refused():
    x = np.zeros((4, 2), np.float32)
    with pytest.raises(TaskError, match=r"own: y_test has shape \(3,\), want \(4,\), one class a sample"):
        Classification("own", "", lambda: torch.nn.Linear(2, 2), x, np.zeros(4, np.int64), x, np.zeros(3, np.int64))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "mnist"}, "task: got 'mnist', want digits, cifar10, text, synthetic or MODULE:FUNCTION"),
        ({"task": "digits", "model": "vgg"}, "model: got 'vgg', want auto, cnn or resnet20"),
        ({"task": "synthetic", "model": "cnn"}, "synthetic: got model 'cnn', want auto"),
        (
            {"task": "no_such_module:build"},
            "task no_such_module:build: No module named 'no_such_module', want a module",
        ),
    ],
)
def test_what_does_not_exist_is_named(settings, message):
    with pytest.raises(TaskError, match=message):
        load_task(config(**settings))


def test_a_task_of_ones_own_is_found_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    Path("own_task.py").write_text(
        "import numpy as np, torch\n"
        "from gradwire_worker.tasks import Classification\n"
        "def build(config):\n"
        "    x = np.zeros((config.batch_size, 3), np.float32)\n"
        "    y = np.zeros(len(x), np.int64)\n"
        "    return Classification('own', 'zeros', lambda: torch.nn.Linear(3, 2), x, y, x, y)\n"
        "def broken(config):\n"
        "    return 3\n"
    )
    assert load_task(config(task="own_task:build", batch_size=5)).n_train == 5
    with pytest.raises(
        TaskError, match=r"module own_task \(.*own_task.py\) has no function 'biuld', want one of .*build"
    ):
        load_task(config(task="own_task:biuld"))
    with pytest.raises(TaskError, match="task own_task:broken: got int without name, description"):
        load_task(config(task="own_task:broken"))
    Path("raises_when_imported.py").write_text("1 / 0\n")
    with pytest.raises(TaskError, match="importing raises_when_imported failed: ZeroDivisionError: division by zero"):
        load_task(config(task="raises_when_imported:build"))
