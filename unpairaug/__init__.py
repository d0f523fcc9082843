"""unpairaug: learn a degradation from unpaired photographs, and train restoration networks on it while it is learnt."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unpairaug.augment import TranslatorAugment
    from unpairaug.registry.registry import (
        register_discriminator,
        register_head,
        register_loss,
        register_task,
        register_translator,
    )
    from unpairaug.task import Task
    from unpairaug.translator import Translator

__all__ = [
    "Task",
    "Translator",
    "TranslatorAugment",
    "__version__",
    "register_discriminator",
    "register_head",
    "register_loss",
    "register_task",
    "register_translator",
]
__version__ = "0.1.0.dev0"

# A wheel carries `tasks/` and `recipes/` inside this package; a checkout has them beside it.
_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "pyproject.toml").is_file():
    __path__.append(str(_checkout))

# Public names and their modules, imported at first use: `import unpairaug` stays free of torch and takes no time.
_HOMES = {
    "Task": "task",
    "Translator": "translator",
    "register_discriminator": "registry",
    "TranslatorAugment": "augment",
    "register_head": "registry",
    "register_loss": "registry",
    "register_task": "registry",
    "register_translator": "registry",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'unpairaug' has no attribute {name!r}; public names: {', '.join(__all__)}")
    value = getattr(import_module(f"unpairaug.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
