"""Names in a recipe to classes in code: built in, registered, plug-ins, `module:Class`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
