# mypy: disable-error-code="arg-type, assignment, return-value"
# numba's integers are NumPy's: np.int64 stands where Python has int.
"""Length-limited Huffman code lengths by package-merge, on whole numbers only.

Source: Larmore, Hirschberg, "A fast algorithm for optimal length-limited Huffman codes", J. ACM 37(3), 1990.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

U64 = npt.NDArray[np.uint64]


@njit(cache=True, nogil=True)
def package_merge(weights: U64, max_length: int, lengths: npt.NDArray[np.uint8]) -> None:
    """Fill `lengths` with the code lengths of ascending `weights`; 2 <= weights.size <= 2**max_length.

    At each of `max_length` levels the list is the leaves merged with the pairs of the level before, a leaf first where
    weights are equal. The first 2 n - 2 of the last list are taken; a leaf's length is how often it is taken.
    """
    n = weights.size
    is_package = np.zeros((max_length, 2 * n), np.bool_)
    sizes = np.zeros(max_length, np.int64)
    before = np.zeros(2 * n, np.uint64)
    here = np.zeros(2 * n, np.uint64)
    n_before = 0
    for level in range(max_length):
        leaf, pair, n_here = 0, 0, 0
        n_pairs = n_before // 2
        while leaf < n or pair < n_pairs:
            package = np.uint64(0)
            if pair < n_pairs:
                package = before[2 * pair] + before[2 * pair + 1]
            if leaf < n and (pair >= n_pairs or weights[leaf] <= package):
                here[n_here] = weights[leaf]
                leaf += 1
            else:
                here[n_here] = package
                is_package[level, n_here] = True
                pair += 1
            n_here += 1
        sizes[level] = n_here
        n_before = n_here
        before, here = here, before
    lengths[:] = 0
    n_taken = 2 * n - 2
    for level in range(max_length - 1, -1, -1):
        n_packages = 0
        for i in range(n_taken):
            n_packages += np.int64(is_package[level, i])
        for i in range(n_taken - n_packages):
            lengths[i] += np.uint8(1)
        n_taken = 2 * n_packages
