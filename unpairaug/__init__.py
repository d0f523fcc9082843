"""Learn how a real camera degrades from unpaired photographs, and train restoration networks on it meanwhile."""

from pathlib import Path

import lazy_loader

__version__ = "0.2.0.dev0"

# A wheel carries `tasks/` and `recipes/` inside this package; a checkout has them beside it.
_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "pyproject.toml").is_file():
    __path__.append(str(_checkout))

# The public names are listed in `__init__.pyi` and imported at first use: `import unpairaug` takes no time.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
