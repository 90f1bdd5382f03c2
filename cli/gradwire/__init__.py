"""The public door of gradwire."""
