"""Section `task`: what is trained, on which data."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from gradwire_common.settings.section import Section


class TaskSettings(Section):
    """What is trained, on which data."""

    task: str = Field("digits", description="digits, cifar10, text, synthetic, or MODULE:FUNCTION of your own")
    model: str = Field("auto", description="model of a built-in task; auto takes the task's own")
    data: Path | None = Field(None, description="folder or file of the data, for tasks that read any")
    batch_size: int = Field(64, ge=1, description="samples that each worker takes a round")
    split: Literal["iid", "dirichlet"] = Field("iid", description="how the data are divided among workers")
    dirichlet_alpha: float = Field(0.5, gt=0, description="concentration of classes; smaller is more uneven")
    parameters: int = Field(1_000_000, ge=1, description="parameters of the synthetic task's model")
