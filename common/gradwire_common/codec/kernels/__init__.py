"""Compiled loops of the codec: checked contiguous arrays in, caller-made outputs, counts out."""
