"""A trained head on files: whole images, tiles, folders, processes."""
