"""Built-in discriminators, one a file; the file's name is the name in a recipe.

A discriminator is a module from images (B, 3, H, W) in [0, 1] to logits, (B, n, h, w) or (B, 1), the higher the more
real. `smallest_side` is the side in pixels of the smallest image that it can judge, 1 if it does not say.
"""
