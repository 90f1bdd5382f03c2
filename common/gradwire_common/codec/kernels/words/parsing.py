"""Buckets to words of TUPLES that grow: where each begins depends on all before it.

Such a chain of look-ups waits for every single one, so eight walkers go side by side, each from an eighth of the
bitstream on, where perhaps no word begins. Words are short: whoever comes from before soon steps where the next walker
has stepped, and from there on both go the same way, so what that one has found is right.

Accesses are those of arrays, but for their wrapping around. Every step is at least 1 and at most `longest`, so a walker
takes no more steps than its eighth has buckets.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
I32 = npt.NDArray[np.int32]
U64 = npt.NDArray[np.uint64]

N_WALKERS = 8
_ZERO, _1, _2, _3, _4, _5, _6, _7, _WALKERS = (np.uint64(i) for i in range(N_WALKERS + 1))


@njit(cache=True, nogil=True)
def parse(numbers: U16, steps: U8, longest: int, found: U16, words: U16) -> int:
    """Cut buckets in words, and list the tuples that begin where these do. Return how many they are.

    Args:
        numbers: For each bucket the number of the tuple that begins with it.
        steps: By the number of a tuple: the buckets of the word that it begins with.
        longest: The largest of `steps`.
        found: Scratch, N_WALKERS**2 longer than `numbers`.
        words: Filled in; as long as `numbers`.
    """
    part = np.int64(numbers.size) // N_WALKERS
    places, n_words, place = np.empty(N_WALKERS, np.uint64), 0, _ZERO
    n_steps = _walk_together(numbers, steps, np.uint64(part), longest, found, places)
    for w in range(N_WALKERS):
        end, last = places[w], np.uint64((w + 1) * part if w + 1 < N_WALKERS else numbers.size)
        row, stop, there = np.uint64(w), np.uint64(w) + n_steps * _WALKERS, np.uint64(w * part)
        while end < last:
            found[stop] = numbers[end]
            end += steps[numbers[end]]
            stop += _WALKERS
        while place != there and place < last:
            if there < place:
                there += steps[found[row]]
                row += _WALKERS
            else:
                words[n_words] = numbers[place]
                place += steps[numbers[place]]
                n_words += 1
        if place < last:
            for i in range(row, stop, _WALKERS):
                words[n_words] = found[i]
                n_words += 1
            place = end
    return n_words


@njit(cache=True, nogil=True)
def _walk_together(numbers: U16, steps: U8, part: np.uint64, longest: int, found: U16, places: U64) -> np.uint64:
    """Walk from every `part` on, all as many steps as none passes its part with.

    The tuple of step i of walker w goes to found[N_WALKERS * i + w]. Fills in `places`, where they are in the end;
    returns how many steps they took.
    """
    f1 = part
    f2, f3, f4 = f1 + part, f1 + part + part, f1 + part + part + part
    f5, f6, f7 = f4 + f1, f4 + f2, f4 + f3
    p0, p1, p2, p3, p4, p5, p6, p7, n = _ZERO, f1, f2, f3, f4, f5, f6, f7, _ZERO
    while True:
        furthest = max(p0, p1 - f1, p2 - f2, p3 - f3, p4 - f4, p5 - f5, p6 - f6, p7 - f7)
        n_steps = (np.int64(part) - np.int64(furthest)) // longest
        if n_steps <= 0:
            break
        for _ in range(n_steps):
            t0, t1, t2, t3 = numbers[p0], numbers[p1], numbers[p2], numbers[p3]
            t4, t5, t6, t7 = numbers[p4], numbers[p5], numbers[p6], numbers[p7]
            found[n], found[n + _1], found[n + _2], found[n + _3] = t0, t1, t2, t3
            found[n + _4], found[n + _5], found[n + _6], found[n + _7] = t4, t5, t6, t7
            p0, p1, p2, p3 = p0 + steps[t0], p1 + steps[t1], p2 + steps[t2], p3 + steps[t3]
            p4, p5, p6, p7 = p4 + steps[t4], p5 + steps[t5], p6 + steps[t6], p7 + steps[t7]
            n += _WALKERS
    places[0], places[1], places[2], places[3] = p0, p1, p2, p3
    places[4], places[5], places[6], places[7] = p4, p5, p6, p7
    return n // _WALKERS


@njit(cache=True, nogil=True)
def parse_one_by_one(numbers: U16, steps: U8, words: U16) -> int:
    """Do what `parse` does, step by step."""
    place, n_words = 0, 0
    while place < numbers.size:
        words[n_words] = numbers[place]
        place += np.int64(steps[numbers[place]])
        n_words += 1
    return n_words


@njit(cache=True, nogil=True)
def place_words(listed: I32, words: U16, steps: U8) -> None:
    """Turn a list of some of the `words`, ascending, into where they start."""
    place, done = _ZERO, _ZERO
    for i in range(listed.size):
        word = np.uint64(listed[i])
        place += _steps_of(words, steps, done, word)
        listed[i], done = place, word


@njit(cache=True, nogil=True)
def _steps_of(words: U16, steps: U8, start: np.uint64, stop: np.uint64) -> np.uint64:
    one, two = _ZERO, _ZERO
    if (stop - start) & _1:
        one = np.uint64(steps[words[start]])
        start += _1
    for word in range(start, stop, _2):
        one += steps[words[word]]
        two += steps[words[word + _1]]
    return one + two
