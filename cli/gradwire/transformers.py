"""For Hugging Face's Trainer: `GradwireCallback`. Importing this imports transformers."""

from gradwire_worker.frameworks.transformers import GradwireCallback

__all__ = ["GradwireCallback"]
