"""From counted pushes to published versions."""
