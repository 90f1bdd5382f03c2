"""Damaged frames, and what must hold of a decoder that is given them."""
