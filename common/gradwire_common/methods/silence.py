"""A run that stands still because nothing is sent, told apart from one that merely learns slowly."""

import logging

log = logging.getLogger("gradwire")

SILENT_ROUNDS = 5  # in a row; a batch or two without a gradient are no sign of anything


class Silence:
    """Counts rounds in a row in which nothing but zeros was sent, and warns once in each stretch of them.

    Args:
        warning: what to log; %d stands for the number of rounds.
    """

    def __init__(self, warning: str):
        self._warning = warning
        self._rounds = 0

    def count(self, silent: bool) -> None:
        """Count a round."""
        self._rounds = self._rounds + 1 if silent else 0
        if self._rounds == SILENT_ROUNDS:
            log.warning(self._warning, self._rounds)
