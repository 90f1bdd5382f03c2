"""Hugging Face's Trainer as it is: schedules, accumulation, its own checkpoints."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from gradwire import RemoteOptimizer, SessionOptions
from worker.toys import assert_same_state, state_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    transformers = pytest.importorskip("transformers", reason="pip install 'gradwire[frameworks]'")
    from gradwire.transformers import GradwireCallback

pytestmark = pytest.mark.filterwarnings("ignore")  # Trainer's own advice
ROUNDS = 8


class Classifier(nn.Module):
    """One layer, called as Trainer calls models."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(8, 4)

    def forward(self, points: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.layer(points)
        return {"loss": functional.cross_entropy(logits, labels), "logits": logits}


def trainer_of(model: nn.Module, optimizer: Any, schedule: Any, data: Any, folder: Path, **options: Any) -> Any:
    arguments = {
        "max_steps": ROUNDS,
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 2,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "logging_steps": 1,
        "seed": 3,
    }
    remote = isinstance(optimizer, RemoteOptimizer)
    return transformers.Trainer(
        model,
        transformers.TrainingArguments(str(folder), **{**arguments, **options}),
        train_dataset=[{"points": x, "labels": y} for x, y in data],
        optimizers=(optimizer, schedule),
        callbacks=[GradwireCallback(optimizer)] if remote else [],
    )


def made_of(model: nn.Module, server: str | None = None) -> tuple[Any, Any]:
    """Return AdamW and a cosine with warm-up."""
    optimizer: Any = torch.optim.AdamW(model.parameters(), lr=0.01)
    if server is not None:
        session = SessionOptions(worker_id="w")
        optimizer = RemoteOptimizer.wrap(optimizer, server, model=model, session=session)
    return optimizer, transformers.get_cosine_schedule_with_warmup(optimizer, 2, ROUNDS)


def rates_of(trainer: Any) -> list[float]:
    return [line["learning_rate"] for line in trainer.state.log_history if "learning_rate" in line]


@pytest.mark.parametrize("kept", [ROUNDS, 4, 2])
def test_trainer_trains_as_alone_and_its_checkpoints_go_on_where_the_run_is(
    kept: int, serve: Any, rounds_of: Any, points: Any, tmp_path: Path
) -> None:
    """In one go, from the checkpoint of the run's version, and from an older one."""
    local = Classifier()
    alone = trainer_of(local, *made_of(local), points, tmp_path)
    alone.train()
    server = serve(rounds=ROUNDS)
    model, stopped = Classifier(), min(ROUNDS, 4 if kept < ROUNDS else ROUNDS)
    first = trainer_of(
        model, *made_of(model, server.address), points, tmp_path, max_steps=stopped, save_strategy="steps", save_steps=2
    )
    first.train()
    if kept < ROUNDS:
        model = Classifier()
        again = trainer_of(model, *made_of(model, server.address), points, tmp_path)
        again.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{kept}"))
    server.join()
    records = rounds_of()
    assert [record["samples"] for record in records] == [16] * ROUNDS
    factors = [0, 1 / 2, *(0.5 * (1 + torch.tensor(torch.pi * n / 6).cos().item()) for n in range(6))]
    assert [record["learning_rate"] for record in records] == pytest.approx([0.01 * each for each in factors])
    if kept >= 4:  # an older one begins at an earlier batch
        assert_same_state(state_of(model), state_of(local))
