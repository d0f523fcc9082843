"""A recipe beside its bicubic baseline and its supervised upper bound, on one head, budget and data."""
