"""A worker process: joins, trains a task until the run ends, evaluates its part of the test samples."""

import logging
import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import torch
from torch import nn

from gradwire_common.errors import ConfigError, RunEndedError, TaskError
from gradwire_common.metrics import Metric
from gradwire_common.settings.config import Config
from gradwire_common.settings.handed import with_handed
from gradwire_common.transport.address import Address, parse_address
from gradwire_common.transport.reach import check_known
from gradwire_common.units import named
from gradwire_common.warming import warm_kernels
from gradwire_worker.compute.device import choose_device, settle_torch
from gradwire_worker.compute.flat_model import manifest_of
from gradwire_worker.evaluation import evaluate, to_device
from gradwire_worker.node import NodeGroup, NodePlace
from gradwire_worker.node_optimizer import NodeOptimizer
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.run_log import RunLog
from gradwire_worker.session import SessionOptions
from gradwire_worker.session.asking import server_settings
from gradwire_worker.sources.during_backward import DuringBackward
from gradwire_worker.sources.frame_source import Source
from gradwire_worker.sources.in_step import InStep
from gradwire_worker.sources.local_steps import LocalSteps
from gradwire_worker.tasks import Indices, Task, load_task
from gradwire_worker.tasks.shards import dirichlet_shards, evaluation_part, iid_shards, round_batch, round_rng

MAX_SLOTS = 2**16  # keeps the random numbers of a node's processes apart from those of other slots
SHARED_SETTINGS = ("task", "model", "seed", "split", "dirichlet_alpha")  # what all workers of a run must agree on

log = logging.getLogger("gradwire")


def run_worker(config: Config, *, joining: Callable[[], None] = lambda: None, node: NodePlace | None = None) -> None:
    """Train `config.task` at `config.server` until the run ends; where it has ended already, say so and return.

    Everything slow comes before joining, so that no round waits for a kernel to compile or data to load.

    Args:
        config: The settings.
        joining: Called before the worker joins; from then on there is a run to leave.
        node: The place of this process among those of its node, which are one worker; None where it is alone.

    Raises:
        GradwireError: why the worker could not begin or continue.
    """
    server = named("server", parse_address, config.server)
    if node is None or node.leads:
        check_known(server)
    if node is not None and config.overlap:
        raise ConfigError(
            f"overlap: got it in a node of {node.processes} processes, whose gradients are added up before they are "
            "encoded; want one process a node, or no overlap"
        )
    session = session_options(config)
    log.info("kernels are ready after %.1f s", warm_kernels())
    device = choose_device(config.device, node.process if node else 0)
    given = load_task(config) if "task" in config.model_fields_set else None  # what cannot be is told first
    with ExitStack() as left:
        group = left.enter_context(NodeGroup(node)) if node else None
        own, config = config, settings_told(config, server, session, group)
        settle_torch(config, device, node.processes if node else config.workers)
        task = given if given is not None and config == own else load_task(config)
        session = replace(session, settings=shared_settings(config))
        torch.manual_seed(config.seed)
        model = task.model().to(device)
        log.info("%s: %s; %s parameters on %s", task.name, task.description, f"{_size(model):,}", device)
        joining()

        def join() -> RemoteOptimizer:
            joined = RemoteOptimizer(model, server, state=config.state, source=source_of(config), session=session)
            return left.enter_context(joined)

        try:
            optimizer = join() if group is None else NodeOptimizer(model, group, join)
        except RunEndedError as error:
            log.info("%s: nothing is left to do", error)
            return
        shard = shard_of(task, config, optimizer.slot, optimizer.slots)
        train(task, model, optimizer, shard, config, device)


def settings_told(config: Config, server: Address, session: SessionOptions, group: NodeGroup | None) -> Config:
    """Return the settings of a worker with those that its server hands to all. Raises what `with_handed` does.

    Of a node's processes the first asks, and tells the others.
    """

    def asked() -> dict[str, str]:
        return server_settings(server, patience=config.patience, access=session.access)

    told, lines = with_handed(config, asked() if group is None else group.told(asked))
    if lines:
        log.warning("the server's settings win: %s", "; ".join(lines))
    return told


def check_worker(config: Config) -> int:
    """Do all that `run_worker` does before it joins, but for what takes long; return the number of training samples.

    Raises:
        UsageError: the device, task, model, data or local optimizer cannot be.
    """
    choose_device(config.device)
    task = load_task(config)
    model = task.model()
    shard_of(task, config, 0, config.workers)
    manifest_of(model)
    source_of(config).check([{"params": list(model.parameters())}], config.rounds)
    return task.n_train


def train(
    task: Task,
    model: nn.Module,
    optimizer: RemoteOptimizer | NodeOptimizer,
    shard: Indices,
    config: Config,
    device: torch.device,
) -> None:
    """Step until the run ends; report an evaluation at every version that asks for one. The log is told how it goes.

    Which samples a step takes is a function of the seed, the slot, the process of the node, the round and the local
    step alone.
    """
    stream = optimizer.slot
    if isinstance(optimizer, NodeOptimizer):  # the node's shard, divided; random numbers of its own
        shard, stream = optimizer.part_of(shard), stream + optimizer.process * MAX_SLOTS
    part = evaluation_part(task.n_test, optimizer.slot, optimizer.slots)
    told = RunLog(optimizer.remote if isinstance(optimizer, NodeOptimizer) else optimizer)
    if optimizer.resumed and optimizer.evaluation_due():
        told.metrics.update(report(task, model, optimizer, part, device))
    try:
        while not optimizer.ended:
            version = optimizer.version
            number = optimizer.steps_taken + 1
            indices = round_batch(shard, config.batch_size, config.seed, stream, number)
            rng = round_rng(config.seed, stream, number)
            batch = to_device(task.train_batch(indices, rng), device)
            torch.manual_seed(int(rng.integers(2**63)))  # of dropout
            optimizer.zero_grad()
            loss = task.loss(model, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step(samples=len(indices), loss=loss)
            if optimizer.version == version:
                continue  # a local step, or the first with a delay
            if optimizer.evaluation_due():
                told.metrics.update(report(task, model, optimizer, part, device))
            told.stepped()
    except RunEndedError as error:
        log.info("%s", error)
    told.ended()


def report(
    task: Task, model: nn.Module, optimizer: RemoteOptimizer | NodeOptimizer, part: Indices, device: torch.device
) -> dict[str, Metric]:
    """Evaluate the weights held on a part of the test samples, and report it; return it."""
    if not len(part):
        return {}
    metrics, version = evaluate(task, model, part, device), optimizer.version
    for name in [name for name, metric in metrics.items() if not math.isfinite(metric.sum)]:
        log.warning("version %d: the test %s is %g and is not reported", version, name, metrics.pop(name).sum)
    if metrics:
        optimizer.report(len(part), **metrics)
    return metrics


def shard_of(task: Task, config: Config, slot: int, slots: int) -> Indices:
    """Return the training samples of the worker at `slot`; one beyond the run's slots shares another's.

    Raises:
        TaskError: if the samples cannot be divided as the settings say.
    """
    if config.split == "iid":
        return iid_shards(task.n_train, slots, config.seed)[slot % slots]
    if task.labels is None:
        raise TaskError(f"split dirichlet: task {task.name} has no labels, want split iid")
    return dirichlet_shards(task.labels, slots, config.dirichlet_alpha, config.seed)[slot % slots]


def source_of(config: Config) -> Source:
    """Return where the frames of the worker's pushes come from."""
    if config.local_steps:
        return LocalSteps(
            config.local_steps,
            config.local_optimizer,
            config.local_lr,
            config.local_optimizer_options,
            config.local_schedule,
            config.local_schedule_options,
        )
    return DuringBackward(config.delay) if config.overlap else InStep(config.delay)


def session_options(config: Config) -> SessionOptions:
    """Return how the worker takes part. Raises IdentityError where its certificates are wrong."""
    return SessionOptions(
        worker_id=config.worker_id or "",
        slot=config.slot,
        settings=shared_settings(config),
        patience=config.patience,
        pace=config.pace,
        initial_precision=config.initial_precision,
        certs=config.certs or "",
        token_file=config.token_file or "",
    )


def shared_settings(config: Config) -> dict[str, str]:
    """Return the settings that all workers of a run must agree on."""
    names = SHARED_SETTINGS + (("parameters",) if config.task == "synthetic" else ())
    return {name: str(getattr(config, name)) for name in names}


def _size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
