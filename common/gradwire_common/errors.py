"""The one tree of errors: bad data, bad use, bad weather."""


class GradwireError(Exception):
    """Base of every error that gradwire raises on purpose. Its message says what, got and want."""


class DataError(GradwireError):
    """Bytes or numbers that cannot be right."""


class BitstreamError(DataError):
    """A frame that is damaged, cut short or not a frame at all."""


class CodebookMismatchError(BitstreamError):
    """A frame whose codebook this machine derives differently; sending its code lengths helps."""


class NonFiniteError(DataError):
    """A NaN or infinity where only finite numbers can count."""


class CheckpointError(DataError):
    """A checkpoint or journal that does not verify."""


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
    """An id of a worker that is no name."""


class TaskError(UsageError):
    """A task or its data that cannot be found or used."""


class WeatherError(GradwireError):
    """Something outside of both ends' control: trying again later may help."""


class UnavailableError(WeatherError):
    """A server that cannot be reached, or no longer answers."""


class SessionError(WeatherError):
    """A session that the server does not know, or no longer knows; joining again gives a new one."""


class RunEndedError(WeatherError):
    """The run is over; no further push can count."""
