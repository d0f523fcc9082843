"""A trained translator as a transform of albumentations, beside its flips, crops and noises."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from os import fspath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unpairaug.augment import MixedPrecision, Model, TranslatorAugment
from unpairaug.data.tiles import split_into_tiles
from unpairaug.errors import UserError
from unpairaug.registry.albumentations_package import check_licence
from unpairaug.rng import TileNumbers
from unpairaug.translator import Translator
from unpairaug.translators.base.tile_margin import MAX_WHOLE_PIXELS, TILE_SIDE, TILE_STEP, find_tile_margin

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import asks the network for a newer version
check_licence()
try:
    from albumentations import ImageOnlyTransform
except ImportError as error:
    raise ImportError("LearnedDegradation needs albumentations: pip install albumentations==2.0.8") from error


class LearnedDegradation(ImageOnlyTransform):
    """Shows an image as a trained translator's camera would: (H, W), (H, W, 1) or (H, W, 3), uint8 or float32.

    Random numbers come from albumentations' own state, so `A.Compose(seed=…)` decides them, and a replay repeats them.
    A transform that is pickled or written by `A.to_dict` says where its translator is; each process loads it by itself.
    `A.from_dict` finds this class once this module has been imported.

    Images above a megapixel are degraded in tiles of 512 pixels where the translator's context permits it: the same
    image for less memory.
    """

    class InitSchema(ImageOnlyTransform.InitSchema):
        """How albumentations checks what is given; model and strength are checked by what takes them."""

        model: Any
        strength: Any
        trust_code: bool
        mixed_precision: Any

    def __init__(
        self,
        model: Model,
        strength: float | Sequence[float] = 1.0,
        p: float = 0.5,
        trust_code: bool = False,
        mixed_precision: MixedPrecision = "no",
    ) -> None:
        """Load the translator, or keep a copy of one that is given itself.

        Args:
            model: a run folder, its `translator/`, a hub id, or a translator.
            strength: share of the translation in the result: 0 is the image itself; [low, high] draws it each time.
            p: probability that an image is degraded.
            trust_code: see `Translator.from_pretrained`.
            mixed_precision: see `TranslatorAugment`.

        Raises:
            UserError: the model cannot be loaded, or the strength is out of range.
        """
        super().__init__(p=p)
        self.model = model if isinstance(model, Translator) else fspath(model)
        self.strength, self.trust_code = strength, trust_code
        self.mixed_precision: MixedPrecision = mixed_precision
        self._augment: TranslatorAugment | None = self._load()
        if isinstance(model, Translator):
            self.model = self._augment.translators[0]

    def get_params(self) -> dict[str, Any]:
        """What a replay needs: one seed, of which strength and noise follow."""
        return {"seed": self.py_random.getrandbits(63)}

    def apply(self, img: NDArray[Any], seed: int = 0, **params: Any) -> NDArray[Any]:
        pixels = torch.from_numpy(np.require(img, requirements="W"))  # torch warns of arrays that it may not write to
        image = pixels[None] if img.ndim == 2 else pixels.permute(2, 0, 1)
        with _one_thread_in_a_child():
            degraded = self._degrade(image, torch.Generator().manual_seed(seed))
        return (degraded[0] if img.ndim == 2 else degraded.permute(1, 2, 0)).numpy()

    def _degrade(self, image: Tensor, rng: torch.Generator) -> Tensor:
        """The image (C, H, W), whole or in tiles; both are the same but for rounding."""
        height, width = image.shape[-2:]
        if height * width <= MAX_WHOLE_PIXELS or self._margin is None:
            return self.augment(image, rng=rng)
        numbers, degraded = TileNumbers(rng, (height, width)), torch.empty_like(image)
        for tile in split_into_tiles(height, width, TILE_SIDE, self._margin, TILE_STEP):
            made = self.augment(image[(..., *tile.seen.slices)], rng=numbers.begin(tile.seen))
            degraded[(..., *tile.kept.slices)] = made[(..., *tile.kept.within(tile.seen).slices)]
        return degraded

    @cached_property
    def _margin(self) -> int | None:
        """Context of a tile in pixels; None where images cannot be cut into tiles."""
        return find_tile_margin(self.augment.translators[0]) if self.augment.scale == 1 else None

    @property
    def augment(self) -> TranslatorAugment:
        """What does the work, loaded at the first image that this process sees."""
        if self._augment is None:
            self._augment = self._load()
        return self._augment

    def _load(self) -> TranslatorAugment:
        return TranslatorAugment(
            self.model,
            strength=self.strength,
            trust_code=self.trust_code,
            mixed_precision=self.mixed_precision,
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_augment": None}

    def to_dict_private(self) -> dict[str, Any]:
        """What `A.to_dict` and `A.save` write.

        Raises:
            UserError: the translator was given itself, and not where it is.
        """
        if isinstance(self.model, Translator):
            raise UserError(
                "LearnedDegradation was given a translator in memory, which a file cannot name; "
                "call its save_pretrained(folder) and give the folder"
            )
        return super().to_dict_private()

    def get_dict_with_id(self) -> dict[str, Any]:
        # For a replay in this process, which may hold the translator itself.
        return {**super().to_dict_private(), "id": id(self)}


@contextmanager
def _one_thread_in_a_child() -> Iterator[None]:
    """In a child process one thread, as torch's loader has it: more may hang after a fork, and siblings need cores."""
    threads = torch.get_num_threads()
    if multiprocessing.parent_process() is None or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
