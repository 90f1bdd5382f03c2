"""A server and its workers as processes of this machine."""
