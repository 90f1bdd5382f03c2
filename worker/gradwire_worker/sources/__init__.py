"""Where the frames of a push come from."""
