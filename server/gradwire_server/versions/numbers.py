"""The training of the run's model, and the threads that compute beside the event loop."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from gradwire_common.errors import ModelMismatchError, UsageError
from gradwire_common.layout.manifest import Layout, Manifest
from gradwire_common.settings.config import ServedRun
from gradwire_common.step_options import OptimizerChoice
from gradwire_server.limits.machine import machine_memory
from gradwire_server.versions.training import Training

T = TypeVar("T")

ENTRY_BYTES = 12  # of the server's memory that an entry takes at the least: weights, replica or momentum, sum


class Numbers:
    """Holds the numbers of a run, once there is a model.

    Attributes:
        changing: held while weights or sums change, and while they are read as a whole.
    """

    def __init__(self, settings: ServedRun):
        self._settings = settings
        self._training: Training | None = None
        self.changing = asyncio.Lock()
        self._pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="gradwire-numbers")

    @property
    def training(self) -> Training:
        """The weights and what changes them.

        Raises:
            UsageError: no worker has joined, so there is no model yet.
        """
        if self._training is None:
            raise UsageError("no worker has joined yet")
        return self._training

    @property
    def layout(self) -> Layout:
        """The layout of the run's model. Raises UsageError where there is none yet."""
        return self.training.layout

    async def prepare(self, manifest: Manifest, choice: OptimizerChoice | None = None) -> Training:
        """Allocate a model and its optimizer, the first worker's `choice` if any, which `define` makes the run's.

        Raises:
            ConfigError: the optimizer does not take its parameter groups.
            ModelMismatchError: it is larger than may be, or there is not enough memory for it.
        """
        try:
            return await self.in_thread(self._allocate, manifest, choice)
        except (MemoryError, ValueError) as error:
            raise ModelMismatchError(f"model of {manifest.layout.size} entries: {error}") from error

    def _allocate(self, manifest: Manifest, choice: OptimizerChoice | None) -> Training:
        n_entries = sum(spec.size for spec in manifest.tensors)
        allowed, fits = self._settings.most_parameters, machine_memory() // ENTRY_BYTES
        if n_entries > (allowed or fits):
            want = f"at most {allowed:,} (most_parameters)" if allowed else f"at most {fits:,}, which fit the memory"
            raise ModelMismatchError(f"model: got {n_entries:,} entries, want {want}")
        return Training(manifest, self._settings, choice)

    def define(self, training: Training) -> None:
        """Let the run be of this model, in place of an earlier one."""
        self._training = training

    async def in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        """Return work(*arguments), computed in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    async def at_rest(self) -> None:
        """Wait until no numbers are being changed."""
        async with self.changing:
            pass

    def close(self) -> None:
        """Let the threads go."""
        self._pool.shutdown()
