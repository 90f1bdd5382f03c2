"""Models by name, for the shape of a task's images."""

from collections.abc import Callable

from torch import nn

from gradwire_common.errors import TaskError
from gradwire_worker.models.cnn import Cnn
from gradwire_worker.models.resnet import ResNet20

Shape = tuple[int, int, int]  # channels, height, width

MODELS: dict[str, Callable[[Shape, int], nn.Module]] = {"cnn": Cnn, "resnet20": ResNet20}


def model_builder(name: str, *, default: str, shape: Shape, classes: int) -> Callable[[], nn.Module]:
    """Return a function that builds the model called `name`; "auto" is `default`.

    Raises:
        TaskError: if there is no such model.
    """
    if name != "auto" and name not in MODELS:
        raise TaskError(f"model: got {name!r}, want auto, {' or '.join(MODELS)}")
    model = MODELS[default if name == "auto" else name]
    return lambda: model(shape, classes)
