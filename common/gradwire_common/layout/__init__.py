"""The names and shapes of a model's tensors, and their places in one flat vector."""
