"""From folders of photographs to two endless, unpaired, exactly reproducible streams of crops.

A trainer uses it like this::

    clean = open_images(source, "clean", scale)          # a folder, shards or "sample"; likewise the other parts
    report = preflight(clean, degraded, scale=scale, crop=crop, val_clean=…)    # from unpairaug.data.preflight
    crops = UnpairedCrops(clean, degraded, crop=crop, scale=scale, seed=seed)
    batches = StepBatches(start, stop, batch_size, accumulation, rank, processes)
    for batch in create_loader(crops, batches, num_workers):    # UnpairedBatch(clean, degraded, index)
        …
    for name, clean_image, degraded_image in ValidationPairs(val_clean, val_degraded, scale):
        …

Names are imported at first use, so that reading an image does not import torch. (Import `preflight` from its module,
which has the same name.)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
