"""Learn how a real camera degrades from unpaired photographs, and train restoration networks on it meanwhile.

    import unpairaug

    run = unpairaug.train("cyclesr_sr", data={"clean": "photos/sharp", "degraded": "photos/phone"})
    print(run.metrics)
    restored = run.restore(image)  # a PIL image, a NumPy array or a tensor
    degraded = run.degrade(image)

`train`, `check`, `compare`, `measure`, `evaluate` and `load_recipe` are what the commands of the same names call. `Run`
is the folder of a finished run. `Task.from_pretrained` and `Translator.from_pretrained` load its networks, and
`TranslatorAugment` is its translator as an augmentation for other training code. `register_task` and its like name your
own parts. `UserError` and `RunStopped` carry one message for a person.
"""

from pathlib import Path

import lazy_loader

__version__ = "0.2.0.dev0"

# A wheel carries `tasks/` and `recipes/` inside this package; a checkout has them beside it.
_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "pyproject.toml").is_file():
    __path__.append(str(_checkout))

# The public names are listed in `__init__.pyi` and imported at first use: `import unpairaug` takes no time.
__getattr__, __dir__, _public_names = lazy_loader.attach_stub(__name__, __file__)

# What `help(unpairaug)` shows; the classes derived from torch's modules would fill it with 3500 lines of theirs.
__all__ = ["Run", "check", "compare", "evaluate", "load_recipe", "measure", "train"]  # pyright: ignore
