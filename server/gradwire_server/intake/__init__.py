"""All that happens to a push until it counts."""
