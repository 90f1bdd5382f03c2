"""The worker: gradients, residual memory, the client and RemoteOptimizer."""
