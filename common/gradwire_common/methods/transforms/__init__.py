"""Orthonormal changes of basis of a tensor before it is quantised."""
