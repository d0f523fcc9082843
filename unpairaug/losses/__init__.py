"""Losses as functions for translators, and as components that a task names in `task.loss`.

Images are (B, C, H, W) in [0, 1].
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
