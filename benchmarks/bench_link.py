"""Measure the token buckets at the socket, what they cost, and how exactly budgets are met.

    python benchmarks/bench_link.py [--quick] [--data FOLDER] [--json FILE]

Keys of the JSON: `worst_overrun_bytes` (most bytes above rate * window + burst + 128 KiB over every window of every
connection, 0 where none were), `worst_lead_bytes` (the same above rate * window + burst), `utilisation` and
`utilisation_most` (long-run rate / rate, the least and the most of all cases), `fairness` (Jain's index of 16 workers
at the shared bucket), `cases`, `take_seconds`, `limiter_share` (of a core, at 100 Mbit/s over 64 workers), `budgets`
(by rate) and `nmse`, both null without --data.
"""

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np

from budget_runs import gradients, nmse_at_budget, used_of_budget
from gradwire_common.units import parse_rate
from greedy import receive_greedily, send_greedily
from limiter_cost import limiter_share, seconds_per_take
from windows import jain, long_run_rate, together, worst_lead

LEAST_BURST = 256 << 10  # bytes
BURST_SECONDS = 0.5  # of the rate that a burst is long: a busy machine may stop a process as long without a loss
LEAD = 128 << 10
UP = [("1 Mbit/s", 1), ("20 Mbit/s", 1), ("100 Mbit/s", 1), ("20 Mbit/s", 2), ("1 Mbit/s", 16), ("5 Mbit/s", 16)]
QUICK_UP = [("20 Mbit/s", 1), ("1 Mbit/s", 16)]
DOWN = [("20 Mbit/s", 2)]
SHARED = ("40 Mbit/s", 16)
BUDGET_RATES = ("0.1 Mbit/s", "0.25 Mbit/s", "1 Mbit/s")
BUDGET_ROUNDS = 50


def main() -> None:
    """Run everything, print it, and write it where the command line says."""
    options = parse_options()
    seconds = 6.0 if options.quick else 25.0
    print(f"{platform.machine()}, {platform.python_version()}; {seconds:.0f} s a case")
    cases = [held("up", *case, seconds) for case in (QUICK_UP if options.quick else UP)]
    cases += [held("down", *case, seconds) for case in DOWN]
    fairness = shared(*SHARED, seconds, cases)
    worst = max(case["lead_bytes"] for case in cases)
    take = seconds_per_take()
    share, reached = limiter_share(12_500_000, 64, 2.0 if options.quick else 5.0)
    print(f"take() {take * 1e6:.2f} us; limiter {share:.2%} of a core at {reached * 8e-6:.1f} Mbit/s over 64 workers")
    result = {
        "worst_overrun_bytes": max(0, round(worst - LEAD)),
        "worst_lead_bytes": round(worst),
        "utilisation": min(case["utilisation"] for case in cases),
        "utilisation_most": max(case["utilisation"] for case in cases),
        "fairness": fairness,
        "take_seconds": take,
        "limiter_share": share,
        "cases": cases,
        "budgets": None,
        "nmse": None,
    }
    print({name: result[name] for name in list(result)[:5]})
    if options.data is None:
        print("no --data with CIFAR-10: budgets of ResNet-20 are left out")
    else:
        result["budgets"] = budgets(options.data, 5 if options.quick else BUDGET_ROUNDS)
        result["nmse"] = nmse(options.data, 2 if options.quick else 10)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def held(direction: str, rate: str, n_workers: int, seconds: float) -> dict[str, Any]:
    """Let workers send or receive greedily, each limited to `rate`; return what was measured at the sockets."""
    value = parse_rate(rate)
    move = send_greedily if direction == "up" else receive_greedily
    burst = _burst(value)
    passages = move(n_workers, value, seconds, **{f"rate_{direction}": rate, "burst": f"{burst} B"})
    lead = max(worst_lead(passage, value, burst) for passage in passages)
    used = [long_run_rate(passage, *_settled(passage.times)) / value for passage in passages]
    case = {
        "direction": direction,
        "rate": rate,
        "workers": n_workers,
        "lead_bytes": lead,
        "utilisation": float(np.mean(used)),
    }
    print(f"{direction:4} {rate:>10} x {n_workers:2}: lead {lead / 1024:6.1f} KiB, utilisation {np.mean(used):.4f}")
    return case


def shared(rate: str, n_workers: int, seconds: float, cases: list[dict[str, Any]]) -> float:
    """Let workers send greedily at one shared rate; return their fairness and add the case."""
    value = parse_rate(rate)
    burst = _burst(value)
    passages = send_greedily(n_workers, value / n_workers, seconds, shared_up=rate, burst_shared=f"{burst} B")
    fairness = jain([passage.total for passage in passages])
    lead = max(worst_lead(passage, value, burst) for passage in passages)
    utilisation = long_run_rate(whole := together(passages), *_settled(whole.times)) / value
    cases.append(
        {
            "direction": "up",
            "rate": f"{rate} shared",
            "workers": n_workers,
            "lead_bytes": lead,
            "utilisation": utilisation,
        }
    )
    print(f"up   {rate:>10} shared by {n_workers}: fairness {fairness:.4f}, utilisation {utilisation:.4f}")
    return fairness


def budgets(data: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Train ResNet-20 at every rate; return how much of their budgets the pushes used."""
    result = {}
    for rate in BUDGET_RATES:
        used = np.array(used_of_budget(rate, rounds, data))
        figures = {
            "pushes": len(used),
            "least": float(used.min()),
            "most": float(used.max()),
            "met": float(np.mean((used >= 0.96) & (used <= 1))),
        }
        result[rate] = figures
        print(f"budget at {rate}: {figures['met']:.0%} of pushes used 96 to 100 %, most {figures['most']:.2%}")
    return result


def nmse(data: Path, n: int) -> dict[str, list[tuple[float, float, str]]]:
    """Compare the push that fits a budget with the best fixed quantiser that does, on gradients of ResNet-20."""
    flat, steps = gradients(data, n)
    result: dict[str, list[tuple[float, float, str]]] = {rate: [] for rate in BUDGET_RATES}
    for gradient in steps:
        for rate, found in result.items():
            found.append(nmse_at_budget(flat, gradient, int(parse_rate(rate))))
    for rate, found in result.items():
        ratios = [ours / theirs for ours, theirs, _ in found]
        print(f"NMSE at {rate} over that of the best fixed quantiser ({found[-1][2]}): {max(ratios):.3f} at the most")
    return result


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="measure limits, budgets and what they cost")
    parser.add_argument("--quick", action="store_true", help="a minute rather than several, fewer cases")
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
