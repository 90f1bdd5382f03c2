"""What a run with noise promises: (epsilon, delta)-differential privacy, counted by dp-accounting."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

from gradwire_common.errors import ConfigError

EXTRA = "gradwire[privacy]"


@dataclass(frozen=True, slots=True)
class Privacy:
    """The privacy of one worker's pushes in a run so far.

    Neighbouring runs differ in whether the pushes of one worker, all of them, are there or zero. No amplification by
    sampling is assumed: every worker may push in every round.

    Attributes:
        multiplier: standard deviation of the noise in the sum of a round, over the bound of a push's norm.
        delta: the probability that epsilon may fail to hold by.
    """

    multiplier: float
    delta: float

    @classmethod
    def of(cls, multiplier: float, delta: float) -> Self | None:
        """Return what noise of `multiplier` promises; None where there is none."""
        return cls(multiplier, delta) if multiplier else None

    def described(self, rounds: int) -> str:
        """Return what a person is told of the privacy after so many rounds."""
        epsilon = f"epsilon {self.epsilon(rounds):.3g} at delta {self.delta:g} after {rounds} rounds"
        return f"privacy: {epsilon}, of one worker's pushes, there or zero; every worker may push in every round"

    def epsilon(self, rounds: int) -> float:
        """Return epsilon after so many rounds; 0 before the first."""
        return _epsilon(self.multiplier, self.delta, rounds) if rounds else 0.0


def check_accountant() -> None:
    """Raise ConfigError where dp-accounting is not installed."""
    _accounting()


@lru_cache(maxsize=1024)
def _epsilon(multiplier: float, delta: float, rounds: int) -> float:
    """Return the epsilon of `rounds` Gaussian mechanisms by their Renyi divergence (Mironov, CSF 2017)."""
    accounting = _accounting()
    accountant = accounting.rdp.RdpAccountant()
    accountant.compose(accounting.GaussianDpEvent(multiplier), rounds)
    return float(accountant.get_epsilon(delta))


def _accounting() -> Any:
    try:
        import dp_accounting
        import dp_accounting.rdp
    except ImportError as error:
        raise ConfigError(
            f"noise_multiplier: epsilon is counted by dp-accounting, which cannot be imported ({error}); "
            f"want pip install '{EXTRA}'"
        ) from None
    return dp_accounting
