"""The one tree of errors, exported as `gradwire.errors`.

Below `GradwireError` there are four kinds, by what helps: `DataError` (other data), `UsageError` (another request),
`TransientError` (trying again later) and `RunEndedError` (nothing: the run is over).
"""


class GradwireError(Exception):
    """Base of every error that gradwire raises on purpose. Its message says what was wrong and what is wanted."""


# ------------------------------------------------------------------------------------------------------------ bad data


class DataError(GradwireError):
    """Bytes or numbers that cannot be right."""


class BitstreamError(DataError):
    """A frame that is damaged, cut short or not a frame at all."""


class CodebookMismatchError(BitstreamError):
    """A frame whose codebook this machine derives differently; sending its code lengths helps."""


class NonFiniteError(DataError):
    """A NaN or infinity where only finite numbers can count."""


class RangeError(DataError):
    """A number, a text or a count outside of what it may be."""


class CheckpointError(DataError):
    """A checkpoint or journal that does not verify."""


class DigestError(DataError):
    """A replica that differs from the server's weights; a snapshot makes it right again."""


# ------------------------------------------------------------------------------------------------------------- bad use


class UsageError(GradwireError):
    """A request that cannot be met as it was made."""


class ConfigError(UsageError):
    """A setting with a wrong name or value."""


class AddressError(UsageError):
    """An address at which no parameter server can be reached, however long it is tried."""


class ModelMismatchError(UsageError):
    """A worker whose model differs from the run's."""


class JoinError(UsageError):
    """A worker that the server will not let join: versions, run or configuration differ."""


class WorkerIdError(JoinError):
    """A worker id that is not a valid name."""


class IdentityError(UsageError):
    """A certificate, key or token that is missing, wrong, expired or not accepted."""


class RightsError(UsageError):
    """A call that the role or the name of its caller does not allow."""


class TaskError(UsageError):
    """A task or its data that cannot be found or used."""


# ----------------------------------------------------------------------------------------------- transient, and the end


class TransientError(GradwireError):
    """A condition outside both ends' control: the same request may succeed when it is tried again."""


class UnavailableError(TransientError):
    """A server that cannot be reached, or no longer answers."""


class SessionError(TransientError):
    """A session that the server does not know, or no longer knows; joining again gives a new one."""


class RunEndedError(GradwireError):
    """The run is over: no further push can count, and trying again does not help."""


class ClusterError(GradwireError):
    """A process of `gradwire train`, of a node or of a launched run that failed."""
