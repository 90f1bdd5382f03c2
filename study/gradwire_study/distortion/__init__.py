"""`gradwire study distortion`: the error of one update against the bytes of its frames, of many methods."""
