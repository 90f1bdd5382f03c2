"""Measure the token buckets at the socket, what they cost, and how exactly budgets are met.

    python benchmarks/bench_link.py [--quick] [--data FOLDER] [--json FILE]

Keys of the JSON: `worst_overrun_bytes` (most bytes above rate * window + burst + 128 KiB over every window of every
connection, 0 where none were), `worst_lead_bytes` (the same above rate * window + burst), `utilisation` and
`utilisation_most` (long-run rate / rate, the least and the most of all cases), `fairness` (Jain's index of 16 workers
at the shared bucket), `cases`, `take_seconds`, `limiter_share` (of a core, at 100 Mbit/s over 64 workers), `far` (bytes
per second over 100 ms, by window), `ten_million` (rounds of a model of that many parameters at 1 Mbit/s), `budgets`
(by rate) and `nmse`, the last two null without --data, `far` and `ten_million` with --quick.

Cases that need little of the machine run at the same time; so does the model of ten million parameters beside them.
"""

import argparse
import json
import platform
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from budget_runs import gradients, nmse_at_budget, used_of_budget
from gradwire.links.profile import Link
from gradwire_common.units import format_rate, parse_rate
from greedy import receive_greedily, send_greedily
from limiter_cost import limiter_share, seconds_per_take
from ten_million import ten_million
from windows import jain, long_run_rate, together, worst_lead

LEAST_BURST = 256 << 10  # bytes
BURST_SECONDS = 0.5  # of the rate that a burst is long: a busy machine may stop a process as long without a loss
LEAD = 128 << 10
SHARED = "shared"
Case = tuple[str, str, int]  # direction, rate of each or SHARED and of all, workers
TOGETHER: list[list[Case]] = [
    [("up", "1 Mbit/s", 1), ("up", "1 Mbit/s", 2), ("up", "1 Mbit/s", 16)],
    [("up", "20 Mbit/s", 1), ("up", "20 Mbit/s", 2), ("down", "20 Mbit/s", 2)],
    [("up", "100 Mbit/s", 1)],
    [("up", "100 Mbit/s", 2)],
    [("up", "20 Mbit/s", 16)],
    [(SHARED, "100 Mbit/s", 16)],
]
QUICK: list[list[Case]] = [
    [("up", "1 Mbit/s", 16), ("up", "20 Mbit/s", 1), ("down", "20 Mbit/s", 2)],
    [(SHARED, "40 Mbit/s", 16)],
]
CASE_SECONDS = 62.0  # so that there are windows of a minute
FAR = Link(delay=0.05)
FAR_SECONDS = 8.0
BUDGET_RATES = ("0.1 Mbit/s", "0.25 Mbit/s", "1 Mbit/s")
BUDGET_ROUNDS = 50


def main() -> None:
    """Run everything, print it, and write it where the command line says."""
    options = parse_options()
    began, seconds = time.monotonic(), 6.0 if options.quick else CASE_SECONDS
    print(f"{platform.machine()}, {platform.python_version()}; {seconds:.0f} s a case")
    if options.case:
        for case in options.case:
            held(*case, seconds)
        return
    with ThreadPoolExecutor() as pool:
        large = None if options.quick else pool.submit(ten_million)
        groups = QUICK if options.quick else TOGETHER
        cases = [case for group in groups for case in pool.map(lambda each: held(*each, seconds), group)]
        take = seconds_per_take()
        share, reached = limiter_share(12_500_000, 64, 2.0 if options.quick else 5.0)
        print(f"take() {take * 1e6:.2f} us; limiter {share:.2%} of a core at {format_rate(reached)} over 64 workers")
        result = summary(cases) | {"take_seconds": take, "limiter_share": share, "cases": cases}
        result["far"] = None if options.quick else far()
        rates = BUDGET_RATES[-1:] if options.quick else BUDGET_RATES
        result["budgets"] = result["nmse"] = None
        if options.data is None:
            print("no --data with CIFAR-10: budgets of ResNet-20 are left out")
        else:
            result["budgets"] = budgets(options.data, rates, 5 if options.quick else BUDGET_ROUNDS, pool)
            result["nmse"] = nmse(options.data, 2 if options.quick else 6)
        result["ten_million"] = large.result() if large else None
    if result["ten_million"] is not None:
        print(f"ten million parameters at 1 Mbit/s: {result['ten_million']}")
    print(f"{time.monotonic() - began:.0f} s in all")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def summary(cases: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return, and print, the worst of all cases."""
    worst = max(case["lead_bytes"] for case in cases)
    figures = {
        "worst_overrun_bytes": max(0, round(worst - LEAD)),
        "worst_lead_bytes": round(worst),
        "utilisation": min(case["utilisation"] for case in cases),
        "utilisation_most": max(case["utilisation"] for case in cases),
        "fairness": min(case["fairness"] for case in cases if case["direction"] == SHARED),
    }
    print(figures)
    return figures


def held(direction: str, rate: str, n_workers: int, seconds: float) -> dict[str, Any]:
    """Let workers send or receive greedily, limited to `rate` each or together; return what the sockets say."""
    value = parse_rate(rate)
    burst = _burst(value)
    if direction == SHARED:
        limits = {"shared_up": rate, "burst_shared": f"{burst} B"}
        passages = send_greedily(n_workers, value / n_workers, seconds, **limits)
    else:
        move = send_greedily if direction == "up" else receive_greedily
        passages = move(n_workers, value, seconds, **{f"rate_{direction}": rate, "burst": f"{burst} B"})
    lead = max(worst_lead(passage, value, burst) for passage in passages)
    measured = [together(passages)] if direction == SHARED else passages
    used = float(np.mean([long_run_rate(each, *_settled(each.times)) / value for each in measured]))
    fairness = jain([passage.total for passage in passages])
    print(
        f"{direction:6} {rate:>10} x {n_workers:2}: lead {lead / 1024:6.1f} KiB, utilisation {used:.4f}, "
        f"fairness {fairness:.4f}",
        flush=True,
    )
    return {
        "direction": direction,
        "rate": rate,
        "workers": n_workers,
        "seconds": seconds,
        "lead_bytes": lead,
        "utilisation": used,
        "fairness": fairness,
    }


def far() -> dict[str, float]:
    """Return the bytes per second that one worker moves over 100 ms, by its window."""
    result = {}
    for window in ("none", "256 KiB", "1 MiB"):
        rate = parse_rate("1 Gbit/s")
        limits = {"rate_up": "1 Gbit/s", "burst": "4 MiB", "window": window}
        (passage,) = send_greedily(1, rate / 20, FAR_SECONDS, link=FAR, **limits)
        result[window] = long_run_rate(passage, *_settled(passage.times))
        print(f"over 100 ms with window {window}: {result[window] / 1e6:.2f} MB/s", flush=True)
    return result


def budgets(data: Path, rates: Sequence[str], rounds: int, pool: ThreadPoolExecutor) -> dict[str, dict[str, float]]:
    """Train ResNet-20 at every rate at the same time; return how much of their budgets the pushes used."""
    result = {}
    for rate, shares in zip(rates, pool.map(lambda each: used_of_budget(each, rounds, data), rates), strict=True):
        used = np.array(shares)
        figures = {
            "pushes": len(used),
            "least": float(used.min()),
            "most": float(used.max()),
            "met": float(np.mean((used >= 0.96) & (used <= 1))),
        }
        result[rate] = figures
        print(
            f"budget at {rate}: {figures['met']:.0%} of {len(used)} pushes used 96 to 100 %, "
            f"least {figures['least']:.2%}, most {figures['most']:.2%}",
            flush=True,
        )
    return result


def nmse(data: Path, n: int) -> dict[str, tuple[float, float, str]]:
    """Compare pushes that fit a budget with the best fixed quantiser that does, on gradients of ResNet-20."""
    flat, steps = gradients(data, n)
    found, result = [gradient.copy() for gradient in steps], {}
    for rate in BUDGET_RATES:
        ours, theirs, name = result[rate] = nmse_at_budget(flat, found, int(parse_rate(rate)))
        print(f"NMSE at {rate}: {ours:.4g}, best fixed quantiser {theirs:.4g} ({name}): ratio {ours / theirs:.4f}")
    return result


def _case(text: str) -> Case:
    """Return the case that `text` names."""
    direction, _, rest = text.partition(" ")
    rate, _, n_workers = rest.rpartition(" x ")
    if direction not in ("up", "down", SHARED) or not n_workers.isdecimal():
        raise argparse.ArgumentTypeError(f"got {text!r}, want a case such as 'up 20 Mbit/s x 16'")
    return direction, rate, int(n_workers)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="measure limits, budgets and what they cost")
    parser.add_argument(
        "--case",
        type=_case,
        action="append",
        help='print this case alone, such as "up 20 Mbit/s x 16"; may be repeated',
    )
    parser.add_argument("--quick", action="store_true", help="two minutes rather than twenty, fewer cases")
    parser.add_argument("--data", type=Path, help="folder or .npz file of CIFAR-10, for budgets of ResNet-20")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args()


def _burst(rate: float) -> int:
    return max(LEAST_BURST, int(BURST_SECONDS * rate))


def _settled(times: list[float]) -> tuple[float, float]:
    """Return the times between which the long-run rate is taken: the last two thirds, when the burst is gone."""
    return times[0] + (times[-1] - times[0]) / 3, times[-1]


if __name__ == "__main__":
    main()
