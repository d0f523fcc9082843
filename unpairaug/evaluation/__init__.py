"""Measures a head on pairs with ground truth: metrics, tables, comparison sheets."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
