"""Compares a recipe with its bicubic baseline and its supervised upper bound: same head, budget and data."""
