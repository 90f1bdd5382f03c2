"""The commands of `gradwire study`: a module each, whose `add_to(app)` adds it."""
