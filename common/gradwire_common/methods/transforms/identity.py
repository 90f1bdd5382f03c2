"""No transform."""

from gradwire_common.methods.method import F32


class Identity:
    """No transform."""

    name = "none"

    def changes(self, shape: tuple[int, ...]) -> bool:  # noqa: ARG002
        """Tell that no shape is transformed."""
        return False

    def forward(self, tensor: F32) -> F32:
        """Return `tensor` itself."""
        return tensor

    def inverse(self, coefficients: F32) -> F32:
        """Return `coefficients` themselves."""
        return coefficients
