"""Which workers take part in a round, where rounds are of some of them each."""

from collections.abc import Iterable
from hashlib import blake2b


def drawn(slots: Iterable[int], most: int, seed: int, round_: int) -> list[int]:
    """Return `most` of `slots`, drawn at random for a round: the same ones for the same slots, seed and round.

    Each slot has a random number of its own in each round, and those with the smallest take part. So a slot that comes
    or goes changes the place of one at most.
    """
    return sorted(slots, key=lambda slot: _number(seed, round_, slot))[:most]


def _number(seed: int, round_: int, slot: int) -> bytes:
    return blake2b(f"{seed} {round_} {slot}".encode(), digest_size=8).digest()
