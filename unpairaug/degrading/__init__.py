"""A trained translator on files: whole images, tiles, folders, processes, Ray."""
