"""Which of the replica's tensors go into the model, and when."""

from gradwire_common.layout.buffers import BufferSchedule
from gradwire_common.layout.manifest import Role
from gradwire_worker.compute.compute import F32
from gradwire_worker.compute.flat_model import FlatModel
from gradwire_worker.session.replica import Replica
from gradwire_worker.session.session import Session


class Loader:
    """Brings the newest tensors of the session's replica into the model, each once."""

    def __init__(self, flat: FlatModel, session: Session, buffers: BufferSchedule):
        self._flat = flat
        self._session = session
        self._buffers = buffers
        self._loaded = dict.fromkeys(Role, -1)

    @property
    def version(self) -> int:
        """The version of the parameters that the model holds; -1 before the first."""
        return self._loaded[Role.PARAMETER]

    @property
    def buffers_version(self) -> int:
        """The version up to which the model's buffers are averages; 0 for none."""
        return self._buffers.newest(self.version)

    def hold(self, values: F32, version: int) -> None:
        """Load parameters and buffers of an earlier `version` from their places in `values`, (size,)."""
        for role in (Role.PARAMETER, Role.BUFFER):
            self._flat.load(values, [role])
            self._loaded[role] = version

    def load(self) -> None:
        """Load what is newer than what the model holds."""
        with self._session.held() as replica:
            self._load(replica)

    def load_again(self) -> None:
        """Load all of the newest tensors, whatever the model holds: something else has written into it."""
        self._loaded = dict.fromkeys(Role, -1)
        self.load()

    def _load(self, replica: Replica) -> None:
        newest = {
            Role.PARAMETER: replica.version,
            Role.BUFFER: replica.buffers_version,
            Role.FROZEN: replica.snapshot_version,
        }
        # between averages, buffers are the worker's own, whatever a snapshot holds
        if self._loaded[Role.BUFFER] >= 0:
            newest[Role.BUFFER] = self._buffers.newest(newest[Role.BUFFER])
        for role, version in newest.items():
            if version > self._loaded[role]:
                self._flat.load(replica.values, [role])
                self._loaded[role] = version
        self._flat.compute.synchronize()
