"""Loss against bytes: methods beside each other at the same training, with simulated workers and real frames.

arms (a TOML file) -> simulation, an arm in a process of its own -> rows (a JSON file) -> table and plot
"""
