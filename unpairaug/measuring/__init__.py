"""A camera measured from two unpaired image sets, without training: figures, a picture, a translator folder."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
