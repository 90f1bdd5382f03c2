"""What a closed round does to the weights."""
