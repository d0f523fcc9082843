"""Built-in translators, one a file; the file's name is the name in a recipe."""
