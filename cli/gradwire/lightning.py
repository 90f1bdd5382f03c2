"""For Lightning: `GradwireCallback`. Importing this imports Lightning."""

from gradwire_worker.frameworks.lightning import GradwireCallback

__all__ = ["GradwireCallback"]
