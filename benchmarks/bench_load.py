"""Measure one server process under the load of many workers, and name what bounds it.

    python benchmarks/bench_load.py [--workers 10 100 1000] [--rounds N] [--parameters N] [--json FILE] [--plot FILE]
    python benchmarks/bench_load.py --memory [--large] [--json FILE]    # what the server takes of memory instead
    python benchmarks/bench_load.py --certs [--turns N] [--workers 300] # in turns without and with mutual TLS

Workers do not compute: they send pushes that were made beforehand as soon as they hold a version, each on its own
connection. Keys of the JSON, of the largest number of workers: `workers`, `rounds_per_s`, `lost` (pushes that no round
holds), `duplicates` (pushes that a round holds twice), `peak_rss_mb`, and `runs`, the same and more for every number.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from load_run import LoadRun, load_run, model
from memory_runs import large_run, memory_runs

WORKERS = (10, 30, 100, 300, 1000)
PLACES = 8  # of a kind of thread that are printed
PHASES = ("decode", "step", "encode")
KINDS = ("event loop", "numbers", "grpc", "disk", "others")  # of threads; the sampler's own is among the others


def main() -> None:
    """Run everything, print it, and write it where the command line says."""
    options = parse_options()
    if options.memory or options.large:
        found = {"memory": memory_runs()} if options.memory else {}
        found |= {"large": large_run()} if options.large else {}
        if options.json:
            options.json.write_text(json.dumps(found, indent=2) + "\n")
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores; {options.parameters} parameters at {options.bits} bits")
    print(
        f"{'workers':>8} {'rounds/s':>9} {'pushes/s':>9} {'lost':>5} {'twice':>6} {'errors':>7} {'peak':>9}  ms a push"
    )
    runs = []
    for workers, certified in arms(options):
        with tempfile.TemporaryDirectory(prefix="gradwire-load-") as folder:
            run = load_run(
                Path(folder) / "run",
                model(options.parameters),
                workers,
                options.processes,
                rounds=options.rounds,
                bits=options.bits,
                optimizer_options={},
                certified=certified,
                checkpoint_every=options.checkpoint_every,
            )
        runs.append(figures(run) | {"certified": certified})
        show(runs[-1])
        for line in run.tally.errors[:5]:
            print(f"    {line}")
    show_places(run)
    result = {**runs[-1], "runs": runs}
    if options.certs:
        result["over_plain"] = over_plain(runs)
        print(f"over mutual TLS, of what it is without: {result['over_plain']}")
    print({name: result[name] for name in ("workers", "rounds_per_s", "lost", "duplicates", "peak_rss_mb")})
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    if options.plot:
        plot(runs, options.plot)


def arms(options: argparse.Namespace) -> list[tuple[int, bool]]:
    """Return the runs to make: numbers of workers, and whether over mutual TLS."""
    turns = [False, True] * options.turns if options.certs else [False]
    return [(workers, certified) for workers in options.workers for certified in turns]


def over_plain(runs: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return what a push costs over mutual TLS, as a multiple of what it costs without; medians, by workers."""

    def ratio(workers: int, figure: Callable[[dict[str, Any]], float]) -> float:
        certified, plain = (
            statistics.median(figure(run) for run in runs if (run["workers"], run["certified"]) == (workers, each))
            for each in (True, False)
        )
        return round(certified / plain, 3)

    return {
        str(workers): {
            "server_cpu": ratio(workers, lambda run: sum(run["cpu_ms"].values())),
            "seconds": ratio(workers, lambda run: 1 / run["rounds_per_s"]),
        }
        for workers in dict.fromkeys(run["workers"] for run in runs)
    }


def figures(run: LoadRun) -> dict[str, Any]:
    """Return what was measured of a run. Times by phase and thread are milliseconds of a push."""
    pushes = max(run.contributions, 1)
    return {
        "workers": run.workers,
        "rounds": len(run.rounds),
        "rounds_per_s": len(run.seconds) / sum(run.seconds) if run.seconds else 0.0,
        "lost": run.lost,
        "duplicates": run.duplicates,
        "repeated": run.tally.repeated,
        "errors": len(run.tally.errors),
        "peak_rss_mb": run.report["peak_rss"] / 1e6,
        "idle_rss_mb": run.report["idle_rss"] / 1e6,
        "cpu_ms": {kind: 1e3 * seconds / pushes for kind, seconds in run.report["cpu"].items()},
        "phase_ms": {
            phase: 1e3 * sum(record["server_times"][phase] for record in run.rounds) / pushes for phase in PHASES
        },
    }


def show(found: dict[str, Any]) -> None:
    """Print the line of one run."""
    kinds = ", ".join(f"{kind} {found['cpu_ms'].get(kind, 0.0):.2f}" for kind in ("event loop", "numbers", "grpc"))
    print(
        f"{found['workers']:8} {found['rounds_per_s']:9.2f} {found['workers'] * found['rounds_per_s']:9.0f} "
        f"{found['lost']:5} {found['duplicates']:6} {found['errors']:7} {found['peak_rss_mb']:6.0f} MB  {kinds}"
    )


def show_places(run: LoadRun) -> None:
    """Print what phases take, where the threads of the server were seen, and which kind of them bounds it."""
    phases = figures(run)["phase_ms"]
    print("of a push, ms: " + ", ".join(f"{phase} {phases[phase]:.3f}" for phase in PHASES))
    cpu, seconds = run.report["cpu"], run.report["seconds"]
    for kind, used in sorted(cpu.items(), key=lambda item: -item[1]):
        print(f"{kind}: {used:.1f} s of processor time in {seconds:.1f} s")
        places = run.report["stacks"].get(kind, [])
        for place, times in places[:PLACES]:
            print(f"    {times / run.report['looks']:6.1%}  {place}")
    print(f"the bottleneck: {max(cpu, key=lambda kind: cpu[kind])}")


def plot(runs: list[dict[str, Any]], path: Path) -> None:
    """Draw how the rate of rounds and the cost of a push grow with the number of workers."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot
    from matplotlib.ticker import LogLocator, StrMethodFormatter

    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    workers = [run["workers"] for run in runs]
    left.loglog(workers, [run["rounds_per_s"] for run in runs], "o-", label="rounds")
    left.loglog(workers, [run["rounds_per_s"] * run["workers"] for run in runs], "s-", label="pushes")
    left.set(title="rate, 1/s")
    left.legend()
    below = [0.0] * len(runs)
    for kind in KINDS:
        heights = [run["cpu_ms"].get(kind, 0.0) for run in runs]
        middle.bar([str(n) for n in workers], heights, bottom=below, label=kind)
        below = [a + b for a, b in zip(below, heights, strict=True)]
    middle.set(title="server's processor time a push, ms", ylim=(0, 1.5 * max(below)))
    middle.legend(reverse=True, ncols=2)
    right.loglog(workers, [run["peak_rss_mb"] - run["idle_rss_mb"] for run in runs], "o-")
    right.set(title="peak memory above the idle, MB")
    for axes in (left, right):
        axes.set_xticks(workers, [str(n) for n in workers])
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.minorticks_off()
    for axes in (left, middle, right):
        axes.set_xlabel("workers")
    figure.savefig(path, dpi=110)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="measure one server under the load of many workers")
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS, help="numbers of workers to try")
    parser.add_argument("--rounds", type=int, default=20, help="rounds of a run")
    parser.add_argument("--parameters", type=int, default=100_000, help="of the model")
    parser.add_argument("--bits", type=float, default=2.0, help="per entry, both ways")
    parser.add_argument("--processes", type=int, default=1, help="that the workers share")
    parser.add_argument("--checkpoint-every", type=int, default=100, help="rounds; 0 keeps no journal")
    parser.add_argument("--certs", action="store_true", help="measure in turns without and with mutual TLS")
    parser.add_argument("--turns", type=int, default=3, help="of each, with --certs")
    parser.add_argument("--memory", action="store_true", help="measure memory by the number of workers instead")
    parser.add_argument("--large", action="store_true", help="measure one round of a model of 3 GB instead")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--plot", type=Path, help="draw them to this PNG file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
