"""Convert a folder of photographs to sub-images or shards; the entry point is `run.Preparation`."""
