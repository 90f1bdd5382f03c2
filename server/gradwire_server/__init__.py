"""The parameter server: rounds, staged pushes, versioned weights, broadcast."""
