"""A stream of unpaired samples, a share of which are true pairs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import Dataset

from unpairaug.data.bad import BadImages
from unpairaug.data.streams import UnpairedBatch, UnpairedCrops


def is_pair(index: Tensor, share: float) -> Tensor:
    """Which samples are pairs: evenly spread, so that each batch has its share.

    Args:
        index: global sample indices, (B,) int64.
        share: share of the pairs, in [0, 1].

    Returns:
        (B,) bool, on the device of `index`.
    """
    return count_pairs(index + 1, share) > count_pairs(index, share)


def count_pairs(index: Tensor, share: float) -> Tensor:
    """The number of pairs before each sample, (B,) int64."""
    return (index.double() * share).floor().long()


class CropsWithPairs(Dataset[UnpairedBatch]):
    """Sample k: crops of a pair where `is_pair` says so, else the unpaired crops of sample k.

    Of a pair, `clean` is the ground truth of `degraded`: both show the same place, with the same flips.
    """

    def __init__(self, crops: UnpairedCrops, pairs: UnpairedCrops, share: float) -> None:
        """Mix two streams with crops of the same size.

        Args:
            crops: the unpaired samples.
            pairs: the pairs, a stream made with `paired=True`.
            share: share of the samples that are pairs, in [0, 1].
        """
        assert pairs.matches is not None, "a stream of pairs is needed"
        self.crops, self.pairs, self.share = crops, pairs, share

    @property
    def bad(self) -> BadImages | None:
        """The bad unpaired images found so far; None where they are not skipped."""
        return self.crops.bad

    def __getitem__(self, k: int) -> UnpairedBatch:
        """Sample k, k = 0, 1, 2, … without end.

        Raises:
            UserError: an image cannot be read, is smaller than the crop, or contradicts the scale of its pair.
        """
        return UnpairedBatch(*(part[0] for part in self.__getitems__([k])))

    def __getitems__(self, wanted: list[int]) -> UnpairedBatch:
        """The samples as one batch."""
        index = torch.tensor(wanted)
        paired = is_pair(index, self.share)
        batches = []
        if not paired.all():
            batches.append(self.crops.__getitems__(index[~paired].tolist()))
        if paired.any():
            batches.append(self.pairs.__getitems__(count_pairs(index[paired], self.share).tolist()))
        order = torch.cat([torch.nonzero(~paired), torch.nonzero(paired)]).flatten().argsort()
        clean, degraded = (torch.cat([batch[side] for batch in batches])[order] for side in (0, 1))
        return UnpairedBatch(clean, degraded, index)

    def locate(self, k: int) -> tuple[str, str]:
        """Where the clean and the degraded image of sample k lie."""
        index = torch.tensor([k])
        if not is_pair(index, self.share):
            return self.crops.locate(k)
        return self.pairs.locate(int(count_pairs(index, self.share)))
