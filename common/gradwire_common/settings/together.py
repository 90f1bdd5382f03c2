"""What goes together with overlap and delay; asked before a run, and again once its server has answered."""

from typing import TYPE_CHECKING

from gradwire_common.errors import ConfigError

if TYPE_CHECKING:  # settings load neither numpy nor kernels
    from gradwire_common.methods.method import Method


def check_together(
    *,
    overlap: bool = False,
    delay: int = 0,
    local_steps: int = 0,
    method: "Method | None" = None,
    asynchronous: bool = False,
) -> None:
    """Refuse what does not go together.

    Args:
        overlap: whether gradients are encoded during the backward pass.
        delay: how many versions old the weights of a forward pass are.
        local_steps: between pushes; 0 where gradients are pushed.
        method: how pushes are coded; None where the server has not told it yet.
        asynchronous: whether every push makes a version of its own.

    Raises:
        ConfigError: names what does not.
    """
    if delay not in (0, 1):
        raise ConfigError(f"delay: got {delay!r}, want 0 or 1")
    for name, wanted in (("overlap", overlap), ("delay", delay)):
        if wanted and local_steps:
            raise ConfigError(f"{name}: got it together with local_steps {local_steps}, want one of the two")
    if delay and asynchronous:
        raise ConfigError(f"delay: got {delay} in a run of the asynchronous mode, want 0: nothing waits there")
    if overlap and method is not None and method.wants_all:
        raise ConfigError(
            f"overlap: got {method.wants_all}, which wants all gradients at once; want method entropy with fixed bits "
            "and no transform"
        )
