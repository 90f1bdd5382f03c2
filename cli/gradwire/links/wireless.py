"""The rate of a Gaussian channel at finite blocklength, with and without an eavesdropper."""

import math
import re
from dataclasses import dataclass, fields
from statistics import NormalDist

from gradwire_common.errors import ConfigError

_PART = re.compile(r"([a-z]+)\s+([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*(dB)?")


@dataclass(frozen=True, slots=True)
class WirelessChannel:
    """A real Gaussian channel, used `n` times a codeword.

    Attributes:
        snr: signal-to-noise ratio, linear, > 0.
        n: blocklength, channel uses in one codeword, >= 1.
        error: probability that a codeword is lost, in (0, 1).
        uses: channel uses per second, > 0.
        eavesdropper: signal-to-noise ratio of who listens, linear; None where nobody does.
        leakage: how much the eavesdropper may learn (total variation distance), in (0, 1).
    """

    snr: float
    n: float = 500
    error: float = 1e-3
    uses: float = 1e6
    eavesdropper: float | None = None
    leakage: float = 1e-3

    def __post_init__(self) -> None:
        for name in ("snr", "n", "uses"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"wireless: {name} is {getattr(self, name)}, want a positive number")
        for name in ("error", "leakage"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"wireless: {name} is {getattr(self, name)}, want a number between 0 and 1")

    @classmethod
    def parse(cls, text: str) -> "WirelessChannel":
        """Return the channel that `text` describes, such as "snr 10 dB, n 500, error 1e-3, uses 1e6".

        Raises:
            ConfigError: if it describes none.
        """
        names = [field.name for field in fields(cls)]
        values: dict[str, float] = {}
        for part in map(str.strip, text.split(",")):
            match = _PART.fullmatch(part)
            if match is None or match[1] not in names:
                raise ConfigError(
                    f"wireless: got {part!r}, want a name of {', '.join(names)} and a number, such as 'snr 10 dB'"
                )
            values[match[1]] = 10 ** (float(match[2]) / 10) if match[3] else float(match[2])
        if "snr" not in values:
            raise ConfigError(f"wireless: got {text.strip()!r}, want 'snr'")
        return cls(**values)

    def bits_per_use(self) -> float:
        """Return the achievable rate in bits per channel use, never below 0.

        The normal approximation R = C - sqrt(V/n) Qinv(error) + log2(n)/(2n) (Polyanskiy, Poor, Verdu 2010, eq. 223);
        with an eavesdropper it loses C_e + sqrt(V_e/n) Qinv(leakage) (Yang, Schaefer, Poor 2019).
        """
        rate = _capacity(self.snr) - math.sqrt(_dispersion(self.snr) / self.n) * _q_inverse(self.error)
        rate += math.log2(self.n) / (2 * self.n)
        if self.eavesdropper is not None:
            rate -= _capacity(self.eavesdropper)
            rate -= math.sqrt(_dispersion(self.eavesdropper) / self.n) * _q_inverse(self.leakage)
        return max(0.0, rate)

    def rate(self) -> float:
        """Return the rate in bits per second."""
        return self.bits_per_use() * self.uses


def _capacity(snr: float) -> float:
    return math.log2(1 + snr) / 2


def _dispersion(snr: float) -> float:
    return snr * (snr + 2) / (2 * (snr + 1) ** 2) * math.log2(math.e) ** 2


def _q_inverse(probability: float) -> float:
    """Return x such that a standard normal exceeds x with `probability`."""
    return -NormalDist().inv_cdf(probability)
