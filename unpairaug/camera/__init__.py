"""What can be measured of a camera without training: optics, noise, JPEG quality; `MeasuredCamera` applies it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
