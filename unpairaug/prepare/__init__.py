"""From a folder of photographs to sub-images and shards: `Preparation` in `run`, and what it is made of."""
