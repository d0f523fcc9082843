from .augment import TranslatorAugment as TranslatorAugment
from .bench.check import check as check
from .comparison.compare import compare as compare
from .errors import RunStopped as RunStopped, UserError as UserError
from .evaluation.evaluate import evaluate as evaluate
from .measuring.measurement import measure as measure
from .recipe import load_recipe as load_recipe
from .registry import (
    register_discriminator as register_discriminator,
    register_head as register_head,
    register_loss as register_loss,
    register_task as register_task,
    register_translator as register_translator,
)
from .run import train as train
from .task import Task as Task
from .training.trained_run import Run as Run
from .translator import Translator as Translator

__version__: str
