"""Measures speed and memory: joint step, data streams, augmentation, and the dry run of `check`."""
