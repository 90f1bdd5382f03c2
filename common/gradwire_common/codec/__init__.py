"""Tensor to frame and back: GenNorm fit, quantisers, Huffman coder."""
