"""Krum and multi-Krum: the pushes that have the most others near them; a few that lie far away change nothing."""

import numpy as np
import numpy.typing as npt

from gradwire_common.errors import ConfigError
from gradwire_common.layout.manifest import Layout
from gradwire_common.methods.method import Method
from gradwire_common.methods.update import add_update
from gradwire_common.units import quoted
from gradwire_server.aggregation.kept import KeptPushes
from gradwire_server.aggregation.outliers import treatments
from gradwire_server.aggregation.push import Push
from gradwire_server.aggregation.rows import decoded_rows
from gradwire_server.aggregation.rule import Mean
from gradwire_server.aggregation.trimmed import checked_fraction, trimmed

COLUMNS = 1 << 16  # entries whose products are summed at a time, in float64


class Krum(KeptPushes):
    """The mean of the pushes with the lowest scores; a score is the sum of squared distances to the nearest others.

    Blanchard, El Mhamdi, Guerraoui, Stainer, "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent",
    NeurIPS 2017: of n pushes of which f may lie, s(i) sums over the n - f - 2 nearest others, and Krum is the push of
    the least score, multi-Krum the mean of several. Where all honest pushes are within a ball of radius r, a selected
    one is within 2 r sqrt(n - f - 2) of an honest one. All pushes weigh the same: `samples` are not asked.

    Args:
        layout: of the model.
        method: decodes what pushes hold.
        fraction: of the pushes that may lie, from 0 to 0.5: f is so many, rounded up, and at most (n - 3) / 2.
        selected: pushes whose mean is taken; 0 for n - f.

    Raises:
        ConfigError: an option that cannot be.
    """

    def __init__(self, layout: Layout, method: Method, fraction: float = 0.25, selected: int = 0):
        super().__init__(layout, method)
        if isinstance(selected, bool) or not isinstance(selected, int) or selected < 0:
            raise ConfigError(f"aggregation krum: selected: got {quoted(selected)}, want a whole number from 0")
        self._fraction = checked_fraction("krum", fraction)
        self._n_selected = selected

    def finish(self) -> Mean:
        """Return the mean of the selected pushes, buffers included."""
        pushes = self._take()
        kept = [push for _, push in pushes]
        liars = max(0, min(trimmed(self._fraction, len(kept)), (len(kept) - 3) // 2))
        products = self._products(kept)
        chosen = select(square_distances(products), liars, self._n_selected or len(kept) - liars)
        with_buffers = self._layout.n_buffers > 0 and all(kept[index].with_buffers for index in chosen)
        self._entries[:] = 0
        for index in chosen:
            push = kept[index]
            units = self._layout.pushed(push.with_buffers)
            with np.errstate(over="ignore"):  # of masks among the buffers: see `Training`
                add_update(push.data, units, 1 / len(chosen), self._entries, self._method, push.scale)
        far = products.diagonal() - 2 * products[:, chosen].mean(1) + products[np.ix_(chosen, chosen)].mean()
        return Mean(self._entries, with_buffers, treatments(pushes, np.maximum(far, 0)))

    def _products(self, kept: list[Push]) -> npt.NDArray[np.float64]:
        """Return the inner products of all pairs of pushes, (n, n)."""
        products = np.zeros((len(kept), len(kept)))
        for _, rows in decoded_rows(kept, self._layout, self._method):
            for start in range(0, rows.shape[1], COLUMNS):
                part = rows[:, start : start + COLUMNS].astype(np.float64)
                products += part @ part.T
        return products


def krum(layout: Layout, method: Method, fraction: float = 0.25) -> Krum:
    """Return the rule that takes the one push of the least score."""
    return Krum(layout, method, fraction, 1)


def square_distances(products: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the squared distances of all pairs, (n, n), from their inner products."""
    squares = products.diagonal()
    return np.maximum(squares[:, None] + squares[None, :] - 2 * products, 0)


def select(distances: npt.NDArray[np.float64], liars: int, n_selected: int) -> npt.NDArray[np.intp]:
    """Return the indices of the pushes with the lowest scores, in ascending order; the first of equal ones.

    Args:
        distances: (n, n) squared distances of pairs.
        liars: f, pushes that may lie.
        n_selected: how many; all, where there are fewer.
    """
    n = len(distances)
    nearest = np.sort(distances + np.diag(np.full(n, np.inf)), axis=1)[:, : max(1, n - liars - 2)]
    scores = np.where(np.isfinite(nearest), nearest, 0).sum(axis=1)
    return np.sort(np.argsort(scores, kind="stable")[:n_selected])
