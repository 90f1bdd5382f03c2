"""The built-in tasks' models."""
