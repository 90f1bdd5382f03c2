"""How many bytes may pass, and how many are held."""
