"""What several translators share: discriminators with image pools, cycles, one-sided degradation, margins of tiles."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
