"""Measure rounds of gradwire beside Flower's and beside what the link and the work allow.

    make bench-round ARGS="--quick --json FILE"

The work: 10 tensors of 1,000,000 float32, trivial local work, 2 workers on this machine, each behind a relay process
that counts bytes at the sockets and holds each direction to the link's rate (benchmarks/relay.py). gradwire codes both
ways alike and sets no limits of its own; Flower 1.27.0 runs start_server and start_client, numpy only, in a virtual
environment of its own (--flower). Neither keeps anything on the disk. The first rounds do not count
(round_systems.UNCOUNTED).

Keys of the JSON: `vs_flower` and `vs_flower_low` (Flower's seconds over ours at 2 and at 0.2 bits, by link),
`over_bound` (the longest of our rounds, by link, over its bytes / rate + compute + encode + decode + step, each timed
alone), `busy_up` and `busy_down` of a case (the part of a round in which a worker's link carries bytes that way),
`peak_rss_mb` (server's memory, by system: the most of all links), `cases` and `parts`. What was not measured is
null.
"""

import argparse
import json
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gradwire_common.methods.entropy import Entropy
from gradwire_common.methods.raw import Raw
from gradwire_common.units import parse_rate
from round_parts import Parts, time_parts
from round_systems import ENTRIES, TENSORS, WORKERS, Measured, run_flower, run_gradwire

NO_LIMIT = "no limit"
LINKS = (NO_LIMIT, "100 Mbit/s", "20 Mbit/s")
FLOWER = "Flower"
METHODS = {
    "float32": Raw(),
    "4 bits": Entropy(bits=4.0),
    "2 bits": Entropy(bits=2.0),
    "0.2 bits": Entropy(bits=0.2),
}
SHORT, LONG = 9, 3  # rounds that are measured; the long ones move all float32 over a thin link

Row = dict[str, Any]


def main() -> None:
    """Run everything, print it, and write it where the command line says."""
    options = parse_options()
    systems = [*(name for name in METHODS if name in options.systems), *([FLOWER] if options.flower else [])]
    parts = {name: time_parts(METHODS[name], WORKERS, TENSORS * ENTRIES) for name in systems if name in METHODS}
    print(
        f"{platform.machine()}, Python {platform.python_version()}; {TENSORS} tensors of {ENTRIES:,}, {WORKERS} workers"
    )
    print_parts(parts)
    print(
        f"\n{'':10} {'':10} {'s/round':>8} {'bytes/rate':>10} {'sum alone':>9} {'over':>5} "
        f"{'MB up':>8} {'MB down':>8} {'server MB':>9} {'busy up':>8} {'busy down':>9}"
    )
    rows: list[Row] = []
    for link in options.links:
        for system in systems:
            for certified in [False, True] * options.turns if options.certs else [False]:
                rows.append(
                    measured_row(
                        system, link, parts.get(system), options.flower, certified=certified, delay=options.delay
                    )
                )
                print_row(rows[-1])
    if options.certs:
        print(f"seconds over mutual TLS, of those without: {over_plain(rows)}")
    result = {**summary(rows), "cases": rows, "parts": {name: asdict(each) for name, each in parts.items()}}
    print({name: result[name] for name in ("vs_flower", "vs_flower_low", "over_bound", "peak_rss_mb")})
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def measured_row(
    system: str, link: str, parts: Parts | None, flower: Path | None, *, certified: bool, delay: int
) -> Row:
    """Measure one system over one link, over mutual TLS or not."""
    rate = 0.0 if link == NO_LIMIT else float(parse_rate(link))
    rounds = LONG if rate and system in (FLOWER, "float32") else SHORT
    if system == FLOWER and flower is not None:
        found: Measured = run_flower(flower, rate, rounds)
    else:
        method = METHODS[system]
        coding = {"method": method.name, "method_options": dict(method.options)}
        found = run_gradwire(rate, rounds, certified=certified, delay=delay, **coding)
    alone = found.bound(rate) + parts.total if parts else None
    return {
        "system": system,
        "link": link,
        "certified": certified,
        "seconds": found.seconds,
        "all_seconds": found.all_seconds,
        "bytes_up": found.up,
        "bytes_down": found.down,
        "bytes_over_rate": found.bound(rate),
        "sum_alone": alone,
        "over_bound": found.seconds / alone if alone else None,
        "busy_up": found.up / rate / found.seconds if rate else None,
        "busy_down": found.down / rate / found.seconds if rate else None,
        "peak_rss_mb": found.peak_rss / 1e6,
    }


def over_plain(rows: Sequence[Row]) -> dict[str, float]:
    """Return the median seconds of a round over mutual TLS as a multiple of those without, by system and link."""
    seconds = {
        (name, certified): statistics.median(
            each for row in rows if (_name(row), row["certified"]) == (name, certified) for each in row["all_seconds"]
        )
        for name, certified in dict.fromkeys((_name(row), row["certified"]) for row in rows)
    }
    return {name: round(seconds[name, True] / seconds[name, False], 4) for name, certified in seconds if certified}


def _name(row: Row) -> str:
    return f"{row['system']}, {row['link']}"


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the figures that the aims are stated in."""
    links = list(dict.fromkeys(row["link"] for row in rows))
    seconds = {(row["system"], row["link"]): row["seconds"] for row in rows}

    def ratio(system: str) -> dict[str, float | None]:
        pairs = {link: (seconds.get((FLOWER, link)), seconds.get((system, link))) for link in links}
        return {link: theirs / ours if theirs and ours else None for link, (theirs, ours) in pairs.items()}

    ours = [row for row in rows if row["over_bound"] is not None]
    return {
        "vs_flower": ratio("2 bits"),
        "vs_flower_low": ratio("0.2 bits"),
        "vs_flower_float32": ratio("float32"),
        "over_bound": {
            link: max((row["over_bound"] for row in ours if row["link"] == link), default=None) for link in links
        },
        "peak_rss_mb": {
            name: max(row["peak_rss_mb"] for row in rows if row["system"] == name)
            for name in dict.fromkeys(row["system"] for row in rows)
        },
    }


def print_parts(parts: dict[str, Parts]) -> None:
    for name, each in parts.items():
        written = ", ".join(f"{part.replace('_', ' ')} {seconds * 1e3:.0f}" for part, seconds in asdict(each).items())
        print(f"{name:10} alone: {written}; {each.total * 1e3:.0f} ms in all")


def print_row(row: Row) -> None:
    alone, over = row["sum_alone"], row["over_bound"]
    print(
        f"{row['link']:10} {row['system']:10} {row['seconds']:8.3f} {row['bytes_over_rate']:10.3f} "
        f"{f'{alone:9.3f}' if alone else '':>9} {f'{over:5.2f}' if over else '':>5} "
        f"{row['bytes_up'] / 1e6:8.3f} {row['bytes_down'] / 1e6:8.3f} {row['peak_rss_mb']:9.0f}"
        + (f" {row['busy_up']:8.0%} {row['busy_down']:9.0%}" if row["busy_up"] is not None else ""),
        flush=True,
    )


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="measure rounds beside Flower's")
    parser.add_argument("--quick", action="store_true", help="leave out 20 Mbit/s")
    parser.add_argument("--links", nargs="+", choices=LINKS, help="these links alone")
    parser.add_argument(
        "--systems", nargs="+", choices=tuple(METHODS), default=tuple(METHODS), help="these codings alone"
    )
    parser.add_argument(
        "--flower", type=Path, help="Python of an environment with flwr 1.27.0; without it, none is run"
    )
    parser.add_argument("--certs", action="store_true", help="measure in turns without and with mutual TLS; no Flower")
    parser.add_argument("--turns", type=int, default=3, help="of each, with --certs")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--delay", type=int, default=0, choices=(0, 1), help="of gradwire's workers, as in settings")
    options = parser.parse_args()
    options.links = options.links or (LINKS[:2] if options.quick else LINKS)
    return options


if __name__ == "__main__":
    main()
