"""One run, its parts held together: what happens in it (course), and what workers ask of it (run)."""
