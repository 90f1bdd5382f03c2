"""What a server's run leaves when it is over: its curves, and a line that says where it lies and how to load it."""

import logging
from pathlib import Path

from gradwire.views.curves_plot import draw_curves
from gradwire.views.history import History
from gradwire.views.metrics import written
from gradwire_server.store.run_folder import METRICS, WEIGHTS

log = logging.getLogger("gradwire.server")


def leave_curves(folder: Path, label: str) -> None:
    """Draw the curves of the run in `folder`, where it had any round, and tell the log what the run came to."""
    history = History(label)
    history.read(folder / METRICS)
    if not history.rounds:
        return
    draw_curves(folder / "curves.png", [history], f"run {folder.name}")
    _tell(folder, history)


def tell_end(folder: Path) -> None:
    """Tell the log what the run in `folder` came to, where it had any round, and where its results lie."""
    history = History("")
    history.read(folder / METRICS)
    if history.rounds:
        _tell(folder, history)


def _tell(folder: Path, history: History) -> None:
    ends = [f"test {name} {written(name, curve.last)}" for name, curve in history.metrics.items()]
    log.info("the run came to round %d%s", history.last_round, "".join(f", {end}" for end in ends))
    if (folder / WEIGHTS).is_file():
        log.info('left in %s; the weights: gradwire.load_weights(model, "%s")', folder, folder / WEIGHTS)
