"""Studies: methods beside each other, with the codec, the rules and the optimizers of real runs, in one process."""
