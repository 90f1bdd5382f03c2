"""Clipping of pushes to a norm before a rule adds them, so that none counts for more than its share."""

import math
import statistics
from dataclasses import replace

from gradwire_common.layout.manifest import Layout
from gradwire_common.methods.method import Method
from gradwire_common.settings.clip import ClipNorm
from gradwire_server.aggregation.push import Push
from gradwire_server.aggregation.rows import decoded_rows, square_norm
from gradwire_server.aggregation.rule import Mean, Rule, Treatment


class Clipped:
    """A rule whose pushes g are scaled to min(1, C / |g|) g first, |g| being the Euclidean norm of the parameters.

    C is fixed, or the median norm of the round's pushes, which no minority can move beyond the norms of the others.
    With the mean of equal weights, m of n pushes move the result by at most 2 m C / n whatever they hold. Buffers
    are left as they are: they are no gradients. Sun, Kairouz, Suresh, McMahan, "Can You Really Backdoor Federated
    Learning?", 2019, clip so against model replacement.

    Args:
        rule: what adds the pushes.
        layout: of the model.
        method: decodes them; its basis is orthonormal, so norms are those of the entries.
        clip: the bound.
    """

    def __init__(self, rule: Rule, layout: Layout, method: Method, clip: ClipNorm):
        self._rule = rule
        self._layout = layout
        self._method = method
        self._clip = clip
        self._held: list[tuple[Push, int, float]] = []  # until the round's median norm is known
        self._treated: dict[int, Treatment] = {}

    @property
    def streams(self) -> bool:
        """Whether a push is done with once it has been added: where the bound is fixed, and the rule says so."""
        return self._rule.streams and not self._clip.median

    def add(self, push: Push, slot: int) -> None:
        """Add a push, which has been checked, or keep it until the bound is known."""
        norm = norm_of(push, self._layout, self._method)
        if self._clip.median:
            self._held.append((push, slot, norm))
        else:
            self._add(push, slot, norm, self._clip.bound)

    def finish(self) -> Mean:
        """Return what the clipped pushes come to. Raises NonFiniteError as the rule does."""
        held, self._held = self._held, []
        for push, slot, norm in held:
            self._add(push, slot, norm, statistics.median(each for _, _, each in held))
        mean = self._rule.finish()
        treated, self._treated = self._treated, {}
        return replace(mean, treated={**treated, **mean.treated})

    def _add(self, push: Push, slot: int, norm: float, bound: float) -> None:
        scale = bound / norm if norm > bound else 1.0
        if scale != 1:
            self._treated[slot] = Treatment(scale)
        self._rule.add(replace(push, scale=scale), slot)


def norm_of(push: Push, layout: Layout, method: Method) -> float:
    """Return the Euclidean norm of a push's parameters. Raises BitstreamError where a frame is damaged."""
    squares = [square_norm(rows[0]) for _, rows in decoded_rows([push], layout, method)]
    return math.sqrt(math.fsum(squares))
