from .images import (
    FolderImages as FolderImages,
    ImageSet as ImageSet,
    MemoryImages as MemoryImages,
    list_images as list_images,
    read_image as read_image,
    write_image as write_image,
)
from .loader import create_loader as create_loader
from .pairs import ImagePair as ImagePair, ValidationPairs as ValidationPairs
from .preflight import DataReport as DataReport, SetReport as SetReport
from .sources import open_images as open_images
from .streams import (
    StepBatches as StepBatches,
    UnpairedBatch as UnpairedBatch,
    UnpairedCrops as UnpairedCrops,
)
