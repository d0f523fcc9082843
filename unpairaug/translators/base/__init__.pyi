from .cycle_translator import CycleTranslator as CycleTranslator
from .image_pool import ImagePool as ImagePool
from .judged_translator import JudgedTranslator as JudgedTranslator
from .one_sided_translator import OneSidedTranslator as OneSidedTranslator
