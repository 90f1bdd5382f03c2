"""How the pushes of a round become one update."""
