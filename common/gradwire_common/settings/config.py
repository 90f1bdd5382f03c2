"""Every setting of gradwire, in one model: from a TOML file, GRADWIRE_* variables and flags, the later winning."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import ValidationError, model_validator

from gradwire_common.errors import ConfigError
from gradwire_common.settings.coding import CodingSettings
from gradwire_common.settings.load import load
from gradwire_common.settings.recipes import with_recipe
from gradwire_common.settings.run import RunSettings
from gradwire_common.settings.section import Section, as_written
from gradwire_common.settings.server import ServerSettings
from gradwire_common.settings.task import TaskSettings
from gradwire_common.settings.together import check_together
from gradwire_common.settings.toml import to_toml
from gradwire_common.settings.worker import WorkerSettings
from gradwire_common.settings.wrong_value import one_line


class ServedRun(ServerSettings, CodingSettings, RunSettings):
    """What a server knows of a run."""

    @property
    def members(self) -> int:
        """The most workers that may take part at once."""
        return max(self.workers, self.most_workers or 4 * self.workers + 16)


class Config(TaskSettings, WorkerSettings, ServedRun):
    """The settings of a run. It is each of its sections: a function takes the section that it needs, or all of it.

    Attributes:
        sections: the sections by name, in the order in which files and help show them.
    """

    sections: ClassVar[Mapping[str, type[Section]]] = {
        "run": RunSettings,
        "coding": CodingSettings,
        "server": ServerSettings,
        "worker": WorkerSettings,
        "task": TaskSettings,
    }

    @model_validator(mode="before")
    @classmethod
    def _follow_recipe(cls, given: Any) -> Any:
        return with_recipe(given) if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        check_together(
            overlap=self.overlap,
            delay=self.delay,
            local_steps=self.local_steps,
            method=self.uplink,
            asynchronous=self.asynchronous,
        )
        return self

    @classmethod
    def load(cls, file: Path | None = None, flags: Mapping[str, Any] | None = None) -> Self:
        """Return the settings of `file`, then the environment, then `flags`, the later winning.

        Raises:
            ConfigError: a name is unknown or a value wrong; says which, what it got and what it wants.
        """
        return load(cls, cls.sections, file, flags or {})

    def replaced(self, **changes: Any) -> Self:
        """Return these settings with some replaced, by texts or values.

        Raises:
            ConfigError: a value is wrong.
        """
        given = {name: getattr(self, name) for name in self.model_fields_set}
        try:
            return type(self)(**{**given, **changes})
        except ValidationError as error:
            raise ConfigError(one_line(error)) from None

    def as_written(self) -> dict[str, Any]:
        """Return every setting as a file has it, by name; None for one that is not given."""
        return {name: as_written(getattr(self, name)) for name in type(self).model_fields}

    def to_toml(self, *, as_given: Collection[str] = ()) -> str:
        """Return a TOML document that `load` reads back as these settings; what is not given is left out.

        Args:
            as_given: sections of which defaults are left out too.
        """
        written = self.as_written()
        return to_toml(
            {
                name: {
                    each: written[each]
                    for each in section.model_fields
                    if name not in as_given or each in self.model_fields_set
                }
                for name, section in self.sections.items()
            }
        )
