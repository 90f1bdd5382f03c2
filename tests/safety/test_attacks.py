"""Every script in attacks/ gets the answers that it promises, and the honest run beside all of them loses nothing."""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

ATTACKS = Path(__file__).parents[2] / "attacks"
NAMES = sorted(path.stem for path in ATTACKS.glob("*.py") if path.stem != "stage")
STALL_SECONDS = 5.0  # 0.25 where the machine does nothing else; `python attacks/NAME.py` shows it
MOST_GROWTH = 64 << 20  # bytes

if TYPE_CHECKING:
    from stage import Stage


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    sys.path.insert(0, str(ATTACKS))
    try:
        yield {name: importlib.import_module(name) for name in ["stage", *NAMES]}
    finally:
        sys.path.remove(str(ATTACKS))


@pytest.fixture(scope="module")
def on(scripts: dict[str, ModuleType], tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Stage]":
    with scripts["stage"].stage(tmp_path_factory.mktemp("attacked")) as stage:
        yield stage


@pytest.mark.parametrize("name", NAMES)
def test_an_attack_gets_the_answers_that_it_promises_and_the_honest_run_has_its_bits(scripts, on, name):
    script, stage = scripts[name], scripts["stage"]
    on.lines.clear()
    on.worst, before = 0.0, on.resident
    with on.playing():
        on.wait_for_rounds()
        script.attack(on)
        on.wait_for_rounds()
    on.check()
    promised = stage.answers_of(script.__doc__)
    assert promised, "it promises nothing"
    assert len(on.lines) == len(promised), on.lines
    for got, answer in zip(on.lines, promised, strict=True):
        assert re.fullmatch(stage.pattern(answer), got), f"got {got}, want {answer}"
    assert on.worst < STALL_SECONDS
    assert on.resident - before < MOST_GROWTH
