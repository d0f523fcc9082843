"""Arrange published data sets, as their authors distribute them, into the folders of a recipe."""
