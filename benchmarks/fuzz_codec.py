"""Throw damaged frames at the decoder: each must decode right or raise BitstreamError.

    python benchmarks/fuzz_codec.py [--seconds S] [--frames N] [--seed N] [--reference SHARE] [--memory MIB]

The frame in hand is always in a file (`--keep FILE`), so a crash leaves it behind; `--frame FILE` tries it again.
What takes too long ends the process with a traceback.
"""

import argparse
import faulthandler
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fuzzing.checks import Oracle, check_decoder, check_paths_agree
from fuzzing.corpus import LARGE, build_corpus
from fuzzing.keeper import Keeper, read_kept
from fuzzing.memory import limit_further_memory, peak_mib
from fuzzing.mutations import MUTATIONS
from gradwire_common.codec.frames import read_header, warm_up
from gradwire_common.errors import BitstreamError

sys.path.append(str(Path(__file__).parent.parent / "tests" / "codec"))
from reference_decoder import decode as reference_decode

PATIENCE = 600.0  # s for one batch, uncompiled too; more is a hang
BATCH = 200  # frames between looks at the clock
PORTABLE_SHARE = 0.1  # of the frames that both paths decode
REFERENCE_MAX = 20_000  # entries; the reference decoder is slow


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
    base = peak_mib()
    if options.memory:
        limit_further_memory(options.memory)
    start = time.monotonic()
    with Keeper(options.keep) as keeper:
        tried, taken = fuzz(corpus, options, keeper)
    elapsed = time.monotonic() - start
    print(f"{tried.total()} damaged frames in {elapsed:.0f} s from seed {options.seed}, none decoded wrong")
    for name in sorted(tried):
        print(f"  {name:18} {tried[name]:9} tried, {taken[name]:9} taken for frames")
    print(f"peak memory {peak_mib():.0f} MiB, of which {peak_mib() - base:.0f} MiB for damaged frames")


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3600.0, help="how long (default an hour)")
    parser.add_argument("--frames", type=int, default=10_000_000, help="how many (default ten million)")
    parser.add_argument("--seed", type=int, default=1, help="of corpus and mutations (default 1)")
    parser.add_argument("--reference", type=float, default=0.02, help="share that the reference decoder decodes too")
    parser.add_argument("--memory", type=int, default=1024, help="MiB that decoding may take (default 1024; 0: any)")
    parser.add_argument("--largest", type=int, default=LARGE, help="most entries of an undamaged frame")
    parser.add_argument("--keep", type=Path, help="where the frame in hand is written (default a temporary file)")
    parser.add_argument("--frame", type=Path, help="try the one frame kept in this file")
    return parser.parse_args()


def fuzz(corpus: Sequence[bytes], options: argparse.Namespace, keeper: Keeper) -> tuple[Counter[str], Counter[str]]:
    """Damage and decode; return how many frames were tried, and how many were taken, by mutation."""
    rng = random.Random(options.seed)
    tried: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    end = time.monotonic() + options.seconds
    while tried.total() < options.frames and time.monotonic() < end:
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        for _ in range(min(BATCH, options.frames - tried.total())):
            mutation = rng.choice(MUTATIONS)
            data = keeper.keep(mutation(corpus, rng))
            oracle = choose_oracle(data) if rng.random() < options.reference else None
            tried[mutation.__name__] += 1
            taken[mutation.__name__] += check_decoder(data, oracle)
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
