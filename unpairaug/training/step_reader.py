"""Reads the samples of a process, step by step, from any step on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from accelerate import Accelerator

from unpairaug.data import StepBatches, UnpairedBatch, UnpairedCrops, create_loader
from unpairaug.data.pair_share import CropsWithPairs
from unpairaug.data.sequential import SequentialBatches
from unpairaug.data.shard_cache import ShardCache
from unpairaug.data.shard_copies import read_from_copies
from unpairaug.errors import UserError
from unpairaug.recipe import Recipe
from unpairaug.training.data_order import count_copies


class StepReader:
    """The samples that this process trains on; the same step gives the same samples.

    With `data.order: stream` this holds for the same number of processes and loader workers.
    """

    def __init__(self, crops: UnpairedCrops | CropsWithPairs, recipe: Recipe, accelerator: Accelerator) -> None:
        """Read nothing yet.

        Args:
            crops: the samples of the run.
            recipe: with lengths in steps.
            accelerator: of the run.
        """
        assert isinstance(recipe.train.steps, int), "resolve the recipe's epochs first"
        self.crops, self.recipe, self.accelerator, self.steps = crops, recipe, accelerator, recipe.train.steps

    def read_from(self, step: int) -> Iterator[list[UnpairedBatch]]:
        """The micro-batches of each step from `step`, counted from 0, to the last, on the device.

        Raises:
            UserError: an image cannot be read. The processes read different images, so the one that fails reports it.
        """
        data, accumulation, accelerator = self.recipe.data, self.recipe.train.gradient_accumulation, self.accelerator
        rank, processes = accelerator.process_index, accelerator.num_processes
        order = StepBatches(step, self.steps, data.batch_size, accumulation, rank, processes)
        dataset, cache = self.crops, ShardCache(int(data.cache_gib * 2**30))
        if data.order == "stream":
            assert isinstance(self.crops, UnpairedCrops), "`resolve_order` refuses a stream with pairs"
            dataset = SequentialBatches(self.crops, order, cache)
        else:
            crops = self.crops.crops if isinstance(self.crops, CropsWithPairs) else self.crops
            if count_copies(self.recipe, crops, processes):
                read_from_copies(crops, cache)
        batches = iter(create_loader(dataset, order, data.num_workers, accelerator.device.type == "cuda"))
        for _ in range(step, self.steps):
            try:
                found = [to_device(batch, accelerator) for batch in islice(batches, accumulation)]
            except UserError as error:
                error.is_of_one_process = True
                raise
            yield found

    def image_names(self, sample: int) -> tuple[str, ...]:
        """The clean and the degraded image of a sample; a bad one may have been replaced by another."""
        if self.recipe.data.order == "stream":
            return ("images that were read in sequence",)
        return self.crops.locate(sample)


def to_device(batch: UnpairedBatch, accelerator: Accelerator) -> UnpairedBatch:
    """The batch on this process's device, its images of 8 bits as float32 in [0, 1].

    They stay channels-last: convolutions are faster so, on CPUs too.
    """
    clean, degraded = (
        image.to(accelerator.device, memory_format=torch.channels_last, non_blocking=True).div(255)
        for image in batch[:2]
    )
    return UnpairedBatch(clean, degraded, batch.index)
