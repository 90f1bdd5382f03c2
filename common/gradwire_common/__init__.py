"""What both ends of gradwire must agree on, bit for bit."""

__version__ = "0.1.0"
