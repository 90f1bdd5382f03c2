"""What an update goes through on its way to frames: transform, residual memory, step sizes, budget."""
