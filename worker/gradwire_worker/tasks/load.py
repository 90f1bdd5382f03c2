"""Tasks by name: the built-in ones, and MODULE:FUNCTION of the user's own."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from gradwire_common.errors import GradwireError, TaskError
from gradwire_common.settings.config import Config
from gradwire_worker.tasks.cifar10 import cifar10
from gradwire_worker.tasks.digits import digits
from gradwire_worker.tasks.synthetic import synthetic
from gradwire_worker.tasks.task import Task
from gradwire_worker.tasks.text import text

BUILT_IN: dict[str, Callable[[Config], Task]] = {
    "digits": digits,
    "cifar10": cifar10,
    "text": text,
    "synthetic": synthetic,
}
_MEMBERS = (
    "name",
    "description",
    "n_train",
    "n_test",
    "labels",
    "model",
    "train_batch",
    "test_batch",
    "loss",
    "evaluate",
)  # of Task


def load_task(config: Config) -> Task:
    """Return the task that `config.task` names: a built-in one, or what MODULE:FUNCTION returns for `config`.

    Modules are looked for on Python's path, then in the working folder, whose files so hide no installed module.

    Raises:
        TaskError: if there is no such task, its data cannot be used, or what the function returns is no Task.
    """
    if ":" in config.task:
        return _checked(_user_function(config.task)(config), config.task)
    if config.task not in BUILT_IN:
        raise TaskError(f"task: got {config.task!r}, want {', '.join(BUILT_IN)} or MODULE:FUNCTION")
    return BUILT_IN[config.task](config)


def _user_function(name: str) -> Callable[[Config], object]:
    module_name, _, function_name = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except GradwireError:
        raise
    except ModuleNotFoundError as error:
        raise TaskError(f"task {name}: {error}, want a module on Python's path or in {here}") from None
    except (Exception, SystemExit) as error:
        raise TaskError(f"task {name}: importing {module_name} failed: {type(error).__name__}: {error}") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        names = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise TaskError(
            f"task {name}: module {module_name} ({getattr(module, '__file__', None) or 'built in'}) has no function "
            f"{function_name!r}, want one of {', '.join(names) or 'nothing, for it has none'}"
        )
    return function  # type: ignore[no-any-return]


def _checked(task: object, name: str) -> Task:
    missing = [member for member in _MEMBERS if not hasattr(task, member)]
    if missing or not isinstance(task, Task):
        raise TaskError(f"task {name}: got {type(task).__name__} without {', '.join(missing)}, want a Task")
    return task
