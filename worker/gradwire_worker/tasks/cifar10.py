"""CIFAR-10 from a folder in its original binary format, or from an .npz file of arrays."""

import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gradwire_common.errors import TaskError
from gradwire_common.settings.config import Config
from gradwire_worker.models.registry import model_builder
from gradwire_worker.tasks.classification import Classification, Images
from gradwire_worker.tasks.task import Indices

U8 = npt.NDArray[np.uint8]
Part = tuple[U8, Indices]  # (n, 32, 32, 3) images and (n,) classes

SIDE = 32
CLASSES = 10
RECORD_BYTES = 1 + 3 * SIDE * SIDE  # a class, then red, green and blue planes, row by row
PADDING = 4  # pixels that a crop may shift by
MEAN = np.array([0.4914, 0.4822, 0.4465], np.float32) * 255  # of the 50,000 training images, by channel
DEVIATION = np.array([0.2470, 0.2435, 0.2616], np.float32) * 255


def cifar10(config: Config) -> Classification:
    """Return the task.

    Raises:
        TaskError: if the data cannot be found or are not CIFAR-10.
    """
    if config.data is None:
        raise TaskError(
            "cifar10: got no data, want --data with a folder of data_batch_*.bin and test_batch.bin, or an .npz file"
        )
    train, test = _read_npz(config.data) if config.data.suffix == ".npz" else _read_folder(config.data)
    return Classification(
        name="cifar10",
        description=f"{len(train[0]):,} training and {len(test[0]):,} test images of CIFAR-10",
        build_model=model_builder(config.model, default="resnet20", shape=(3, SIDE, SIDE), classes=CLASSES),
        x_train=train[0],
        y_train=train[1],
        x_test=test[0],
        y_test=test[1],
        augment=crop_and_flip,
        prepare=normalize,
    )


def normalize(images: Images) -> npt.NDArray[np.float32]:
    """Return (n, 32, 32, 3) bytes as (n, 3, 32, 32) float32 of mean 0 and deviation 1 by channel."""
    return np.ascontiguousarray(((images - MEAN) / DEVIATION).transpose(0, 3, 1, 2), dtype=np.float32)


def crop_and_flip(images: Images, rng: np.random.Generator) -> Images:
    """Shift (n, 32, 32, 3) images by up to PADDING pixels each way, filled with the mean, and mirror half of them."""
    n = len(images)
    padded = np.empty((n, SIDE + 2 * PADDING, SIDE + 2 * PADDING, 3), images.dtype)
    padded[:] = np.rint(MEAN).astype(images.dtype)
    padded[:, PADDING:-PADDING, PADDING:-PADDING] = images
    top, left = rng.integers(0, 2 * PADDING + 1, (2, n, 1))
    mirrored = rng.integers(0, 2, (n, 1)).astype(bool)
    pixels = np.arange(SIDE)
    rows = top + pixels
    columns = left + np.where(mirrored, pixels[::-1], pixels)
    cropped: Images = padded[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return cropped


def _read_folder(folder: Path) -> tuple[Part, Part]:
    inner = folder / "cifar-10-batches-bin"
    folder = inner if inner.is_dir() else folder
    batches = sorted(folder.glob("data_batch_*.bin"))
    test = folder / "test_batch.bin"
    if not batches or not test.is_file():
        raise TaskError(f"cifar10: {folder} has no data_batch_*.bin and test_batch.bin, want both, or an .npz file")
    parts = [_read_binary(batch) for batch in batches]
    images, classes = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    return (images, classes), _read_binary(test)


def _read_binary(path: Path) -> Part:
    data = np.fromfile(path, np.uint8)
    if not data.size or data.size % RECORD_BYTES:
        raise TaskError(f"cifar10: {path} has {data.size} bytes, want a multiple of {RECORD_BYTES}")
    records = data.reshape(-1, RECORD_BYTES)
    images = records[:, 1:].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), _checked_classes(records[:, 0].astype(np.int64), path)


def _read_npz(path: Path) -> tuple[Part, Part]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            missing = [name for name in ("x_train", "y_train", "x_test", "y_test") if name not in arrays]
            if missing:
                raise TaskError(f"cifar10: {path} has arrays {', '.join(arrays)}, want {', '.join(missing)} too")
            return _npz_part(path, arrays, "train"), _npz_part(path, arrays, "test")
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise TaskError(f"cifar10: {path} cannot be read: {error}; want an .npz file") from None


def _npz_part(path: Path, arrays: "np.lib.npyio.NpzFile", part: str) -> Part:
    images, classes = arrays[f"x_{part}"], arrays[f"y_{part}"]
    if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE, 3):
        raise TaskError(
            f"cifar10: {path} x_{part} is {images.dtype} {list(images.shape)}, want uint8 [n, {SIDE}, {SIDE}, 3]"
        )
    if classes.dtype.kind not in "iu" or classes.size != len(images):
        raise TaskError(
            f"cifar10: {path} y_{part} is {classes.dtype} {list(classes.shape)}, want {len(images)} whole numbers"
        )
    return images, _checked_classes(classes.reshape(-1).astype(np.int64), path)


def _checked_classes(classes: Indices, path: Path) -> Indices:
    if classes.size and not (classes.min() >= 0 and classes.max() < CLASSES):
        wrong = classes[(classes < 0) | (classes >= CLASSES)][0]
        raise TaskError(f"cifar10: {path} has class {wrong}, want 0 to {CLASSES - 1}")
    return classes
