"""The distribution of a tensor's entries: the fit, and the bits and distortion that follow from it."""
