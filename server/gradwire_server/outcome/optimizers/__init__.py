"""How the server steps its weights."""
