"""Throw damaged frames at the decoder: each must decode right or raise BitstreamError.

    python benchmarks/fuzz_codec.py [--seconds S] [--frames N] [--seed N] [--processes N] [--reference SHARE]

The frame that a process has in hand is always in a file (`--keep FILE`), so a crash leaves it behind; `--frame FILE`
tries it again.
What takes too long ends the process with a traceback.
"""

import argparse
import faulthandler
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fuzzing.checks import Oracle, check_decoder, check_paths_agree
from fuzzing.corpus import LARGE, build_corpus
from fuzzing.frame_log import FrameLog, read_kept
from fuzzing.memory import limit_further_memory, peak_mib
from fuzzing.mutations import MUTATIONS
from fuzzing.processes import run_in_processes
from gradwire_common.codec.frames import read_header, warm_up
from gradwire_common.errors import BitstreamError

sys.path.append(str(Path(__file__).parent.parent / "tests" / "codec"))
from reference_decoder import decode as reference_decode

PATIENCE = 600.0  # s for one batch, uncompiled too; more is a hang
BATCH = 500  # frames between looks at the clock
PORTABLE_SHARE = 0.05  # of the frames that both paths decode
ADD_SHARE = 0.4  # of the frames that are also added to an accumulator
REFERENCE_MAX = 2000  # entries; the reference decoder is slow


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a process did: frames tried and taken for frames, by mutation; its most resident memory before and after."""

    tried: Counter[str]
    taken: Counter[str]
    mib_before: float
    mib_after: float


def main() -> None:
    """Fuzz until the time or the frames run out, then report."""
    options = parse_options()
    if options.frame is not None:
        print("a frame" if check_decoder(read_kept(options.frame), reference_decode) else "refused")
        return
    if options.largest >= LARGE:
        warm_up()
    corpus = build_corpus(options.seed, options.largest)
    for frame in corpus:
        if not check_decoder(frame, choose_oracle(frame)):
            raise SystemExit(f"the decoder refuses an undamaged frame: {frame[:64].hex()}")
    print(f"{len(corpus)} undamaged frames, {options.processes} processes", flush=True)
    start = time.monotonic()
    outcomes = run_in_processes(lambda i: fuzz_as(i, corpus, options), options.processes)
    elapsed = time.monotonic() - start
    tried = sum((outcome.tried for outcome in outcomes), Counter[str]())
    taken = sum((outcome.taken for outcome in outcomes), Counter[str]())
    print(f"{tried.total()} damaged frames in {elapsed:.0f} s from seed {options.seed}, none decoded wrong")
    for name in sorted(tried):
        print(f"  {name:18} {tried[name]:9} tried, {taken[name]:9} taken for frames")
    peak, more = max(o.mib_after for o in outcomes), max(o.mib_after - o.mib_before for o in outcomes)
    print(f"peak memory of a process {peak:.0f} MiB, of which {more:.0f} MiB for damaged frames")


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3600.0, help="how long (default an hour)")
    parser.add_argument("--frames", type=int, default=10_000_000, help="how many (default ten million)")
    parser.add_argument("--seed", type=int, default=1, help="of corpus and mutations (default 1)")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="how many at once (default one a core)")
    parser.add_argument("--reference", type=float, default=0.01, help="share that the reference decoder decodes too")
    parser.add_argument("--memory", type=int, default=1024, help="MiB that decoding may take (default 1024; 0: any)")
    parser.add_argument("--largest", type=int, default=LARGE, help="most entries of an undamaged frame")
    parser.add_argument("--keep", type=Path, help="where the frame in hand is written (default a temporary file)")
    parser.add_argument("--frame", type=Path, help="try the one frame kept in this file")
    return parser.parse_args()


def fuzz_as(process: int, corpus: Sequence[bytes], options: argparse.Namespace) -> Outcome:
    """Do the share of one process, from a seed of its own."""
    before = peak_mib()
    if options.memory:
        limit_further_memory(options.memory)
    n = len(range(process, options.frames, options.processes))
    rng = random.Random(f"{options.seed} {process}")
    with FrameLog(options.keep, process) as frame_log:
        tried, taken = fuzz(corpus, rng, n, options.seconds, options.reference, frame_log)
    return Outcome(tried, taken, before, peak_mib())


def fuzz(
    corpus: Sequence[bytes], rng: random.Random, n: int, seconds: float, reference: float, frame_log: FrameLog
) -> tuple[Counter[str], Counter[str]]:
    """Damage and decode; return how many frames were tried, and how many were taken, by mutation."""
    tried: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    n_tried, end = 0, time.monotonic() + seconds
    while n_tried < n and time.monotonic() < end:
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        for _ in range(min(BATCH, n - n_tried)):
            mutation = rng.choice(MUTATIONS)
            data = frame_log.keep(mutation(corpus, rng))
            oracle = choose_oracle(data) if rng.random() < reference else None
            n_tried += 1
            tried[mutation.__name__] += 1
            taken[mutation.__name__] += check_decoder(data, oracle, adds=rng.random() < ADD_SHARE)
            if rng.random() < PORTABLE_SHARE:
                check_paths_agree(data)
    faulthandler.cancel_dump_traceback_later()
    return tried, taken


def choose_oracle(data: bytes) -> Oracle | None:
    """Return the reference decoder, unless `data` claims more entries than it can decode soon."""
    try:
        return reference_decode if read_header(data).n_entries <= REFERENCE_MAX else None
    except BitstreamError:
        return reference_decode


if __name__ == "__main__":
    main()
