"""What all workers of a run have in common."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from gradwire_common.errors import JoinError
from gradwire_common.foreign_text import MAX_TEXT, printable
from gradwire_common.layout.manifest import Manifest
from gradwire_common.settings.config import ServedRun
from gradwire_common.settings.handed import check_agrees, handed
from gradwire_common.settings.recipes import FOR_LOCAL_STEPS, RECIPES
from gradwire_common.step_options import RATE, OptimizerChoice
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.intake.admission import ReadManifest, check_same_settings
from gradwire_server.outcome.optimizers.optimizer import Fixed, OptimizerSettings

log = logging.getLogger("gradwire.server")

Define = Callable[[Manifest, OptimizerChoice | None], Awaitable[None]]


class Agreement:
    """The model, settings and optimizer of the first worker, which all others must have too.

    Attributes:
        model: None before the first has joined.
        shared: settings that all workers have in common.
        choice: the optimizer that the first worker chose; None where it left that to the server.

    Args:
        settings: of the run.
    """

    def __init__(self, settings: ServedRun):
        self._settings = settings
        self.model: ReadManifest | None = None
        self.shared: dict[str, str] = {}
        self.choice: OptimizerChoice | None = None

    def settle(self, model: ReadManifest, shared: dict[str, str], choice: OptimizerChoice | None) -> None:
        """Let all workers have this model, these settings and this optimizer in common."""
        self.model, self.shared, self.choice = model, shared, choice

    def overruled(self, choice: OptimizerChoice | None) -> str:
        """Say what of a worker's optimizer gives way to the server's settings; empty for nothing.

        Raises:
            JoinError: something else of it is not as the run has it.
        """
        if choice is None:
            return ""
        run = OptimizerSettings.of(self._settings, self.choice)
        overruled, disagreed = Fixed.of(self._settings).differences(run, choice)
        if disagreed:
            raise JoinError(
                f"optimizer differs from the run's {run.optimizer}: {'; '.join(disagreed)}; leave it out to take that"
            )
        return "; ".join(overruled)

    def check_settings(self, request: pb.JoinRequest) -> None:
        """Raise JoinError unless a worker has the settings that all have in common."""
        self.check_handed(request)
        check_same_settings(self.shared, request.settings)

    def check_handed(self, request: pb.JoinRequest) -> None:
        """Raise JoinError where a worker has other settings than the server hands to its workers."""
        if lines := check_agrees(handed(self._settings), request.settings):
            raise JoinError(printable("; ".join(lines), MAX_TEXT))

    async def reach(
        self, request: pb.JoinRequest, packed: bytes | None, define: Define, is_defined: Callable[[], bool]
    ) -> bool:
        """Let the first worker define the run, and the others agree with it; return whether the manifest was there.

        A manifest may be long: it is read in another thread, and not at all where its digest is the run's.

        Args:
            request: what a worker asks for.
            packed: the manifest, where it came by itself.
            define: lets the run be of a model.
            is_defined: tells whether joining workers must agree with the run.

        Raises:
            JoinError: settings or the optimizer differ.
            ModelMismatchError, ConfigError: as `Membership.join` says.
        """
        choice = OptimizerChoice.from_message(request.optimizer) if request.HasField("optimizer") else None
        self.check_handed(request)
        if is_defined():
            self.check_settings(request)  # again: they may have been set meanwhile
            self.overruled(choice)
            if self.model is not None and request.manifest_digest == self.model.digest:
                return True
        if packed is None and not request.HasField("manifest"):
            return False
        got = request.manifest.SerializeToString(deterministic=True) if packed is None else packed
        run = self.model.manifest if self.model is not None and is_defined() else None
        read = await asyncio.to_thread(ReadManifest.of, got, run, is_packed=packed is not None)
        if run is None:
            choice = choice or _for_local_steps(request)
            await define(read.manifest, choice)
            self.settle(read, dict(request.settings), choice)
        return True


def _for_local_steps(request: pb.JoinRequest) -> OptimizerChoice | None:
    """Return what a run steps with whose workers take local steps and ask for no optimizer; None where they take none.

    A rate made for gradients is none for changes of the weights. The server's own settings win over it as usual.
    """
    if request.settings.get("local_steps", "0") == "0":
        return None
    recipe = RECIPES[FOR_LOCAL_STEPS]
    log.info("workers take local steps: where nothing else was asked for, the server steps as %s does", FOR_LOCAL_STEPS)
    return OptimizerChoice(recipe["optimizer"], {RATE: recipe["lr"], **recipe["optimizer_options"]})
