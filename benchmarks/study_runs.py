"""The runs of a study: a `gradwire train` of its own for every arm and seed, unless there is one already."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradwire_common.settings.config import Config
from run_records import records_of

# settings that no accuracy and no number of bytes depends on: where things are, how they are shown and kept
APART = {"name", "runs", "data", "log_level", "listen", "server", "metrics_listen", "reflection", "threads", "device"}
APART |= {"heartbeat", "patience", "pace", "state", "resume", "checkpoint_every", "checkpoints", "worker_id", "slot"}
OF_STUDY = {"seeds", "against"}  # what an arm says beside its settings


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its settings, and the figures that `gradwire train --json` wrote."""

    folder: Path
    settings: dict[str, Any]
    figures: dict[str, Any]

    @property
    def records(self) -> list[dict[str, Any]]:
        """The lines of its metrics."""
        return records_of(self.folder)


def settings_of(study: Mapping[str, Any], arm: str) -> dict[str, Any]:
    """Return the settings of an arm: the study's, and its own in their place."""
    own = {key: value for key, value in study["arms"][arm].items() if key not in OF_STUDY}
    return {**study["settings"], **own}


def run_of(
    study: Mapping[str, Any], arm: str, seed: int, data: Path | None, runs: Path, *, only_there: bool
) -> Run | None:
    """Return the run of one arm with one seed; train where none with its settings is below the parent of `runs`.

    Args:
        study: as its TOML file has it.
        arm: name of the arm.
        seed: of the run.
        data: what the task reads.
        runs: folder of this study's runs; its neighbours are looked through too.
        only_there: return None rather than train.
    """
    name = run_name(arm, seed)
    config = runs / f"{name}.toml"
    lines = [f"{key} = {to_toml(value)}\n" for key, value in settings_of(study, arm).items()]
    runs.mkdir(parents=True, exist_ok=True)
    config.write_text("".join(lines))
    wanted = Config.load(config, {"seed": seed}).as_written()
    if found := find_run(wanted, [runs, *sorted(runs.parent.iterdir())]):
        return found
    if only_there:
        return None
    print(f"training {arm}, seed {seed}", flush=True)
    command = [sys.executable, "-m", "gradwire", "train", "--config", str(config), "--runs", str(runs), "--name", name]
    command += ["--seed", str(seed), "--json", str(runs / f"{name}.json"), *(["--data", str(data)] if data else [])]
    with (runs / f"{name}.log").open("w") as log:
        subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT, env=os.environ)
    return find_run(wanted, [runs])


def find_run(wanted: Mapping[str, Any], folders: Iterable[Path]) -> Run | None:
    """Return a finished run of one of `folders` with the settings `wanted`; newer ones had the default."""
    for result in (result for folder in folders for result in sorted(folder.glob("*.json"))):
        recorded = result.with_suffix("") / "config.toml"
        if not result.stat().st_size or not recorded.exists():  # it is still running
            continue
        settings = Config.load(recorded).as_written()
        if all(settings.get(key) == value for key, value in wanted.items() if key not in APART):
            return Run(result.with_suffix(""), settings, json.loads(result.read_text()))
    return None


def run_name(arm: str, seed: int) -> str:
    return f"{arm.replace(' ', '-').replace(',', '')}-seed{seed}"


def to_toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {to_toml(each)}" for key, each in value.items()) + " }"
    return json.dumps(value)
