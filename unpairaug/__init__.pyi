from .augment import TranslatorAugment as TranslatorAugment
from .registry import (
    register_discriminator as register_discriminator,
    register_head as register_head,
    register_loss as register_loss,
    register_task as register_task,
    register_translator as register_translator,
)
from .task import Task as Task
from .translator import Translator as Translator

__version__: str
