"""A trellis of four states on a circle of levels: a bit a branch, which labels any number of samples.

From state s bit b goes by branch w = 4 b + s to state w >> 1. A branch's first sample has the level 5 w mod 8 of eight
on the circle, each further one (5 label + 3) mod 8, which passes through all.

Source: Lyu et al., ICC Workshops 2024; Marcellin, Fischer, "Trellis coded quantization", IEEE Trans.
Commun. 38(1), 1990.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]

N_STATES = 4


@njit(cache=True, nogil=True)
def search_trellis(samples: F32, dither: F32, n_samples: int, choices: U8, bits: U8) -> int:
    """Find the path of least squared error once the dither is taken off (Viterbi); return its number of bits.

    Args:
        samples: (n,) float32, from -0.5 to 0.5.
        dither: (n,) float32, from -0.5 to 0.5.
        n_samples: samples a branch.
        choices: (ceil(n / n_samples), 4) the branch's bit by which each state is reached best; written.
        bits: (ceil(n / n_samples),) of the path that begins in state 0; written.
    """
    n_steps = bits.size
    cost = np.full(4, np.inf)
    cost[0] = 0.0
    following = np.empty(4)
    for step in range(n_steps):
        for state in range(4):
            following[state] = np.inf
        for w in range(8):
            distance, label = 0.0, 5 * w % 8
            for i in range(step * n_samples, min((step + 1) * n_samples, samples.size)):
                level = (label + 0.5) / 8 - 0.5 - dither[i]
                off = samples[i] - (level - np.floor(level + 0.5))
                distance += off * off
                label = (5 * label + 3) % 8
            total = cost[w & 3] + distance
            if total < following[w >> 1]:
                following[w >> 1] = total
                choices[step, w >> 1] = w & 1
        for state in range(4):
            cost[state] = following[state]
    state = int(np.argmin(cost))
    for step in range(n_steps - 1, -1, -1):
        w = 2 * state + choices[step, state]
        bits[step] = w >> 2
        state = w & 3
    return n_steps


@njit(cache=True, nogil=True)
def follow_trellis(bits: U8, n_samples: int, samples: F32) -> int:
    """Write the levels, from -0.5 to 0.5, that a path labels `samples`, (n,), by; return n."""
    state = 0
    for step in range(bits.size):
        w = 4 * bits[step] + state
        label = 5 * w % 8
        for i in range(step * n_samples, min((step + 1) * n_samples, samples.size)):
            samples[i] = np.float32((label + 0.5) / 8 - 0.5)
            label = (5 * label + 3) % 8
        state = w >> 1
    return samples.size
