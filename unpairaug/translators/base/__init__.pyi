from .cycle_translator import CycleTranslator as CycleTranslator
from .judged_translator import JudgedTranslator as JudgedTranslator
from .one_sided_translator import OneSidedTranslator as OneSidedTranslator
from .pool import ImagePool as ImagePool
