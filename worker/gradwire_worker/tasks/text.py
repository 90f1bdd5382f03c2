"""Text, byte by byte: the source of Python's own standard library, which every machine has, or a file of one's own."""

import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from gradwire_common.errors import TaskError
from gradwire_common.metrics import Metric
from gradwire_common.settings.config import Config
from gradwire_worker.models.transformer import BYTES, CONTEXT, SIZES, Size, Transformer
from gradwire_worker.tasks.task import Batch, Indices

U8 = npt.NDArray[np.uint8]

WINDOW = CONTEXT + 1  # bytes of a sample: each but the first is predicted
PIECES = 200  # that a text is cut in, of which every TEST_EVERY-th is for testing
TEST_EVERY = 20
MOST_TEST = 512  # windows, evenly spread over the test pieces
LEFT_OUT = frozenset({"site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test"})


@dataclass
class Text:
    """A Task: windows of text, cross-entropy in nats a byte, perplexity.

    Attributes:
        size: of the model.
        train, test: bytes.
    """

    description: str
    size: Size
    train: U8
    test: U8
    name: str = "text"
    n_train: int = field(init=False)
    n_test: int = field(init=False)
    labels: Indices | None = None

    def __post_init__(self) -> None:
        self.n_train = (len(self.train) - 1) // CONTEXT
        n_windows = (len(self.test) - 1) // CONTEXT
        self.n_test = min(n_windows, MOST_TEST)
        self._starts = CONTEXT * np.linspace(0, n_windows - 1, self.n_test).astype(np.int64)

    def model(self) -> nn.Module:
        """Build the model."""
        return Transformer(self.size)

    def train_batch(self, indices: Indices, rng: np.random.Generator) -> Batch:
        """Return windows of WINDOW bytes, each shifted at random by less than a window."""
        starts = CONTEXT * indices + rng.integers(0, CONTEXT, len(indices))
        return (_windows(self.train, np.minimum(starts, len(self.train) - WINDOW)),)

    def test_batch(self, indices: Indices) -> Batch:
        """Return windows of WINDOW bytes."""
        return (_windows(self.test, self._starts[indices]),)

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Return the mean cross-entropy of a byte."""
        return _cross_entropy(model, batch[0], "mean")

    def evaluate(self, model: nn.Module, batch: Batch) -> dict[str, Metric]:
        """Return the perplexity of a byte, and its cross-entropy."""
        total, count = float(_cross_entropy(model, batch[0], "sum")), batch[0].shape[0] * CONTEXT
        return {"perplexity": Metric.perplexity(total, count), "loss": Metric(total, count)}


def text(config: Config) -> Text:
    """Return the task.

    Raises:
        TaskError: there is no such model, or no text to be read.
    """
    name = "text-0.4m" if config.model == "auto" else config.model
    if name not in SIZES:
        raise TaskError(f"model: got {name!r} for task text, want auto, {', '.join(SIZES)}")
    data, what = standard_library() if config.data is None else (_read(config.data), str(config.data))
    train, test = split(data)
    return Text(f"{len(data):,} bytes of {what}", SIZES[name], train, test)


def split(data: U8) -> tuple[U8, U8]:
    """Return the training and the test part of a text, the pieces of each one after the other.

    Raises:
        TaskError: it is too short for one window of each.
    """
    if len(data) < 2 * WINDOW:
        raise TaskError(f"text: got {len(data)} bytes, want at least {2 * WINDOW}")
    length = max(WINDOW, len(data) // PIECES)
    pieces = [data[start : start + length] for start in range(0, len(data) - WINDOW + 1, length)]
    test = [piece for number, piece in enumerate(pieces) if number % TEST_EVERY == TEST_EVERY - 1] or [pieces.pop()]
    train = [piece for number, piece in enumerate(pieces) if number % TEST_EVERY != TEST_EVERY - 1]
    return np.concatenate(train), np.concatenate(test)


def standard_library() -> tuple[U8, str]:
    """Return the source files of the standard library, in the order of their paths, and what they are.

    Raises:
        TaskError: there are none, as where Python comes in one file.
    """
    folder = Path(sysconfig.get_path("stdlib"))
    paths = sorted(path for path in folder.rglob("*.py") if not LEFT_OUT & set(path.relative_to(folder).parts[:-1]))
    parts = [path.read_bytes() for path in paths]
    if not any(parts):
        raise TaskError(f"text: found no source of Python's standard library in {folder}, want --data with a text")
    return np.frombuffer(b"".join(parts), np.uint8), f"Python {sysconfig.get_python_version()}'s standard library"


def _read(path: Path) -> U8:
    try:
        return np.fromfile(path, np.uint8)
    except OSError as error:
        raise TaskError(f"text: {path} cannot be read: {error}; want a file") from None


def _windows(data: U8, starts: Indices) -> torch.Tensor:
    return torch.from_numpy(data[starts[:, None] + np.arange(WINDOW)].astype(np.int64))


def _cross_entropy(model: nn.Module, windows: torch.Tensor, reduction: str) -> torch.Tensor:
    scores = model(windows[:, :-1]).reshape(-1, BYTES)
    return functional.cross_entropy(scores, windows[:, 1:].reshape(-1), reduction=reduction)
