"""What sparse methods share: blocks, the largest entries of each, few levels for their values, one frame of both."""
