"""The methods that are compared, each at a few rates, without a residual memory.

DeMo is not among them: its updates are signs of what was sent, of any scale, so that their squared error says nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

RATES: Mapping[str, tuple[str, Sequence[Mapping[str, Any]]]] = {
    "entropy (GenNorm)": ("entropy", [{"bits": bits} for bits in (0.1, 0.3, 0.5, 1, 2, 3, 4)]),
    "top-k": ("topk", [{"density": share} for share in (0.01, 0.03, 0.1, 0.3)]),
    "SparseLoCo": ("sparseloco", [{}]),
    "signSGD": ("signsgd", [{}]),
    "QSGD": ("qsgd", [{"levels": levels} for levels in (1, 4, 16)]),
    "DGC": ("dgc", [{}]),
    "PowerSGD": ("powersgd", [{"rank": rank} for rank in (1, 2, 4)]),
    "CocktailSGD": ("cocktail", [{}]),
    "DiLoCo": ("diloco", [{}]),
    "MuLoCo": ("muloco", [{"bits": bits} for bits in (2, 4)]),
    "EDEN": ("eden", [{"bits": bits, "scale": "least"} for bits in (0.5, 1, 2, 3, 4)]),
    "CO3": ("co3", [{}]),
    "M22": ("m22", [{"bits": bits} for bits in (1, 2, 3)]),
    "one bit (M22)": ("onebit", [{}]),
    "TinyScript": ("tinyscript", [{"bits": bits} for bits in (1, 2, 3, 4)]),
    "count sketch": ("countsketch", [{}]),
    "trellis-coded": ("tcq", [{"density": share} for share in (0.05, 0.3)]),
    "float32": ("raw", [{}]),
}
