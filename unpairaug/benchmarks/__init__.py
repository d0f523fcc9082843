"""Published data sets, as their authors distribute them, arranged into the folders that a recipe names."""
