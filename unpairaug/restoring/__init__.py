"""Applies a trained head to files: whole images, tiles, folders, several processes."""
