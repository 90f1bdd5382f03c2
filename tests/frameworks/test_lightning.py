"""Lightning as it is: manual optimization, its monitor of learning rates, its checkpoints, accumulation."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader

from gradwire import RemoteOptimizer, SessionOptions
from worker.toys import assert_same_state, state_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pl = pytest.importorskip("lightning.pytorch", reason="pip install 'gradwire[frameworks]'")
    from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
    from lightning.pytorch.loggers import CSVLogger

    from gradwire.lightning import GradwireCallback

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's own advice


class Classifier(pl.LightningModule):
    """AdamW and a cosine; on the server where there is one."""

    def __init__(self, server: str | None = None, rounds: int = 8) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.server, self.rounds = server, rounds
        self.layer = nn.Linear(8, 4)
        self.rates: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.rates.append(self.optimizers().param_groups[0]["lr"])
        return functional.cross_entropy(self.layer(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        optimizer: Any = torch.optim.AdamW(self.parameters(), lr=0.01)
        if self.server is None:
            schedule: Any = lr_scheduler.CosineAnnealingLR(optimizer, self.rounds)
        else:
            session = SessionOptions(worker_id="w")
            optimizer = RemoteOptimizer.wrap(optimizer, self.server, model=self, session=session)
            schedule = optimizer.schedule(lambda it: lr_scheduler.CosineAnnealingLR(it, self.rounds))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Gan(pl.LightningModule):
    """Lightning's own GAN: manual optimization, models toggled one after the other."""

    def __init__(self, servers: list[str]) -> None:
        super().__init__()
        self.automatic_optimization = False
        torch.manual_seed(0)
        self.servers = servers
        self.generator, self.discriminator = nn.Linear(4, 8), nn.Linear(8, 1)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        g, d = self.optimizers()
        noise = torch.randn(len(batch[0]), 4)

        self.toggle_optimizer(g)
        judged = self.discriminator(self.generator(noise))
        self.manual_backward(functional.binary_cross_entropy_with_logits(judged, torch.ones_like(judged)))
        g.step()
        g.zero_grad()
        self.untoggle_optimizer(g)

        self.toggle_optimizer(d)
        for inputs, wanted in ((batch[0], torch.ones), (self.generator(noise).detach(), torch.zeros)):
            judged = self.discriminator(inputs)
            self.manual_backward(functional.binary_cross_entropy_with_logits(judged, wanted(judged.shape)))
        d.step()
        d.zero_grad()
        self.untoggle_optimizer(d)

    def configure_optimizers(self) -> Any:
        models = (self.generator, self.discriminator)
        return [
            RemoteOptimizer.wrap(torch.optim.Adam(model.parameters(), lr=2e-3), server, model=model)
            for model, server in zip(models, self.servers, strict=True)
        ]


def trainer_in(folder: Path, **options: Any) -> Any:
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return pl.Trainer(max_epochs=-1, default_root_dir=folder, log_every_n_steps=1, **{**quiet, **options})


def test_a_gan_by_manual_optimization_ends_with_its_two_runs(
    serve: Any, rounds_of: Any, points: Any, tmp_path: Path
) -> None:
    servers = [serve("generator"), serve("discriminator")]
    gan = Gan([server.address for server in servers])
    trainer = trainer_in(tmp_path, enable_checkpointing=False, callbacks=[GradwireCallback()])
    trainer.fit(gan, DataLoader(points, batch_size=16))
    for server, name in zip(servers, ("generator", "discriminator"), strict=True):
        server.join()
        records = rounds_of(name)
        assert [record["samples"] for record in records] == [16] * 8
        assert {record["learning_rate"] for record in records} == {2e-3}


def test_rates_are_monitored_as_they_are_and_weights_are_those_of_training_alone(
    serve: Any, rounds_of: Any, points: Any, tmp_path: Path
) -> None:
    server = serve()
    alone, model = Classifier(), Classifier(server.address)
    options = {"accumulate_grad_batches": 2, "gradient_clip_val": 0.1, "precision": "bf16-mixed"}
    trainer_in(tmp_path, enable_checkpointing=False, max_steps=8, **options).fit(alone, DataLoader(points, 16))
    logger = CSVLogger(tmp_path, name="logs", version=0)
    trainer = trainer_in(
        tmp_path,
        enable_checkpointing=False,
        logger=logger,
        callbacks=[GradwireCallback(), LearningRateMonitor("step")],
        **options,
    )
    trainer.fit(model, DataLoader(points, 16))
    server.join()
    assert trainer.global_step == 8
    assert_same_state(state_of(model), state_of(alone))
    assert model.rates == alone.rates
    assert [record["samples"] for record in rounds_of()] == [32] * 8
    shown = (tmp_path / "logs" / "version_0" / "metrics.csv").read_text()
    header, *lines = shown.splitlines()
    column = header.split(",").index("lr-RemoteOptimizer")
    rates = [float(line.split(",")[column]) for line in lines if line.split(",")[column]]
    assert set(rates) <= {*(record["learning_rate"] for record in rounds_of()), 0.0}
    assert len(set(rates)) >= 8


@pytest.mark.parametrize("kept", [4, 2])
def test_a_checkpoint_of_lightnings_goes_on_where_the_run_is(
    kept: int, serve: Any, rounds_of: Any, points: Any, tmp_path: Path
) -> None:
    """Also where the checkpoint is older than the run: weights, version and rate are the run's."""
    alone = Classifier()
    trainer_in(tmp_path, enable_checkpointing=False, max_steps=8).fit(alone, DataLoader(points, 16))
    server = serve()
    saving = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    trainer_in(tmp_path, max_steps=4, callbacks=[GradwireCallback(), saving]).fit(
        Classifier(server.address), DataLoader(points, 16)
    )
    again = Classifier(server.address)
    trainer = trainer_in(tmp_path, enable_checkpointing=False, callbacks=[GradwireCallback()])
    trainer.fit(again, DataLoader(points, 16), ckpt_path=tmp_path / f"step={kept}.ckpt")
    server.join()
    assert [record["learning_rate"] for record in rounds_of()] == alone.rates
    if kept == 4:  # an older one begins at an earlier batch
        assert_same_state(state_of(again), state_of(alone))
