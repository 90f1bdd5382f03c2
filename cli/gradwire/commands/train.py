"""`gradwire train`: a local cluster, shown while it runs, set beside its float32 baseline when it is over."""

import time
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

from rich.console import Console

from gradwire.links.profile import Link, linked, parse_link
from gradwire.local.checking import checked
from gradwire.local.cluster import Cluster
from gradwire.local.length import with_rounds
from gradwire.local.monitor import Monitor
from gradwire.views.console import open_console
from gradwire.views.curves_plot import draw_curves
from gradwire.views.display import open_display
from gradwire.views.history import History
from gradwire.views.report import figures, summary_table, write_json
from gradwire_common.errors import ClusterError, TransientError, UsageError
from gradwire_common.settings.config import Config
from gradwire_server.aggregation.privacy import Privacy
from gradwire_server.store.run_folder import METRICS, RunFolder, run_folder

POLL_SECONDS = 0.2
ANSWER_SECONDS = 5.0  # that the server may take to answer a poll
IDLE_SECONDS = 15.0  # that a server without any worker process may take to end the run
SLOW_WARM_UP = 5.0  # seconds; kernels that took longer were compiled, not loaded


def run_train(config: Config, *, compare: bool = False, json_file: Path | None = None, link: str | None = None) -> None:
    """Train on a local cluster and leave config, logs, metrics, weights and curves in RUNS/NAME.

    Args:
        config: the settings of the run.
        compare: whether the float32 baseline of the same seed runs afterwards, in RUNS/NAME/baseline.
        json_file: where the final figures go, as `report.figures` has them.
        link: what lies between each worker and the server, as `parse_link` reads it; None for this machine's loopback.

    Raises:
        GradwireError: if a process of the cluster fails, or RUNS/NAME cannot be used.
    """
    console = open_console()
    folder = config.runs / config.name
    way = parse_link(link) if link is not None else None
    if way is not None:
        config = linked(config, way)
        console.print(f"every worker behind a link of {way}")
    if compare and config.uplink.stored:
        raise UsageError("compare: got quantizer float32, the baseline itself; want another quantizer, or no --compare")
    if json_file:
        _check_writable(json_file)
    with checked(config) as found:
        _warm_up(console)
    config = with_rounds(config, lambda: found.training_samples, lambda text: console.print(text, soft_wrap=True))
    with run_folder(folder, resume=config.resume) as held:
        if held.set_aside:
            console.print(f"an earlier run was in {folder}; it is in {held.set_aside} now")
        run = _follow(config, held, console, way)
        baseline = None
        if compare:
            console.print("now the float32 baseline of the same seed")
            with run_folder(folder / "baseline", resume=config.resume) as of_baseline:
                baseline = _follow(_baseline(config, folder), of_baseline, console, way)
        draw_curves(
            folder / "curves.png", [run, baseline] if baseline else [run], f"run {config.name}, task {config.task}"
        )
        if json_file:
            write_json(json_file, figures(run, baseline))
        console.print(summary_table(run, baseline))
        console.print(f"left in {folder}: config.toml, {METRICS}, weights.safetensors, curves.png")
        console.print(f'the weights: gradwire.load_weights(model, "{folder}/weights.safetensors")', soft_wrap=True)


def label(config: Config) -> str:
    """Return how people call the coding of a run: "2 bits", "auto bits", "float8-1-5-2"."""
    return str(config.uplink)


def _baseline(config: Config, folder: Path) -> Config:
    return config.replaced(method="raw", method_options={}, runs=folder, name="baseline")


def _telling(console: Console, text: str) -> AbstractContextManager[object]:
    """Show what is going on: on a terminal while it lasts, elsewhere as a line."""
    if console.is_terminal and not console.is_dumb_terminal:
        return console.status(text)
    console.print(text, soft_wrap=True)
    return nullcontext()


def _warm_up(console: Console) -> None:
    """Compile the kernels once, so that no two processes compile them side by side."""
    with _telling(console, "loading the codec's kernels; the first time they are compiled, which takes half a minute"):
        from gradwire_common.warming import warm_kernels
        from gradwire_worker.interrupts import done_apart

        seconds = done_apart(warm_kernels)  # where no interrupt is lost
    if seconds > SLOW_WARM_UP:
        console.print(f"compiled the codec's kernels in {seconds:.0f} s")


def _follow(config: Config, folder: RunFolder, console: Console, link: Link | None) -> History:
    """Run a cluster to the end of its rounds and return what it did."""
    privacy = Privacy.of(config.noise_multiplier, config.privacy_delta)
    history = History(label(config), total=config.rounds, privacy=privacy)
    with Cluster(config, folder, link) as cluster:
        try:
            with _telling(console, f"starting a server and {config.workers} workers"):
                cluster.start()
            with Monitor(cluster.address, ANSWER_SECONDS) as monitor, open_display(console) as display:
                idle_since = None
                while cluster.running:
                    cluster.check()
                    with suppress(TransientError):  # it is just ending, or has failed, which check() reports
                        history.add(monitor.poll(history.last_round))
                    display.show(history)
                    idle_since = None if cluster.working else idle_since or time.monotonic()
                    if idle_since and time.monotonic() - idle_since > IDLE_SECONDS:
                        raise ClusterError(f"all workers have left after round {history.last_round} of {config.rounds}")
                    time.sleep(POLL_SECONDS)
                cluster.join()
                history.read(folder.path / METRICS)
                display.show(history)
        except KeyboardInterrupt:
            cluster.interrupt()
            console.print(f"stopped after round {history.last_round}; what there is is in {folder.path}")
            raise
    if history.last_round < config.rounds:
        raise ClusterError(
            f"server ended after round {history.last_round} of {config.rounds} (log: {folder.path}/server.log)"
        )
    return history


def _check_writable(file: Path) -> None:
    """Fail now rather than after the run."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.open("a").close()
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}; want a file that can be written") from None
