"""Applies a trained translator to files: whole images, tiles, folders, shards, several processes, Ray."""
