"""Workers that have all done what they wanted to, and do not come back. Time is an argument, in seconds."""


class Finished:
    """Finds that all workers have finished, and none has come back for a while.

    Args:
        seconds: that they may come back in.
    """

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._since: float | None = None

    def look(self, all_finished: bool, now: float) -> bool:
        """Return whether all have been finished for that long."""
        if not all_finished:
            self._since = None
        elif self._since is None:
            self._since = now
        return self._since is not None and now - self._since >= self._seconds
