"""A run from recipe to trained parts: build, joint step, loop, checkpoints, guards."""
