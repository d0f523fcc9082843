"""A degradation that is written down instead of learnt: blur, resampling, noise, JPEG."""

from __future__ import annotations

import random
from collections.abc import Iterator
from inspect import signature
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import AfterValidator, ValidationError
from torch import Tensor

from unpairaug.registry import register_translator
from unpairaug.registry.options import (
    UNKNOWN_KEY,
    Layers,
    Mistake,
    find_numbers,
    format_value,
    mistakes,
    validation_error,
)
from unpairaug.registry.suggestions import suggest
from unpairaug.rng import Rng, image_seeds
from unpairaug.translator import Translator

Step = dict[str, Any]
"""A transform's name and, as its only value, the section of its options."""

PIPELINE: tuple[Step, ...] = (
    {"GaussianBlur": {"sigma_limit": [0.1, 1.0], "p": 0.8}},
    # 3 is cv2.INTER_AREA and 2 INTER_CUBIC, which keep the pixel grid; nearest, the transform's default, does not.
    {"Downscale": {"scale_range": [0.5, 1.0], "interpolation_pair": {"downscale": 3, "upscale": 2}, "p": 0.5}},
    {"GaussNoise": {"std_range": [0.0, 0.05], "p": 0.8}},
    {"ImageCompression": {"quality_range": [50, 95], "p": 0.8}},
)
MAX_NUMBER = 512
"""Of an option: what kernels, counts and sizes cost grows with their square, and beyond it takes seconds to minutes."""
PIXELS = np.random.default_rng(0).integers(256, size=(40, 48, 3), dtype=np.uint8)
"""What each transform is tried on before training."""


def _checked(pipeline: tuple[Any, ...]) -> tuple[Step, ...]:
    """The pipeline with a section of options, empty or not, for every transform.

    Raises:
        ValidationError: a transform is unknown, cannot be built with its options, or does more than degrade.
    """
    if not pipeline:
        raise validation_error(Mistake((), "given no transform; translator `bicubic` leaves the source as it is"))
    steps: list[Step] = []
    wrong: list[Mistake] = []
    for i, given in enumerate(pipeline):
        step = {given: None} if isinstance(given, str) else given
        if not isinstance(step, dict) or len(step) != 1:
            wrong.append(Mistake((i,), f"given {format_value(given)}, should be one transform and its options"))
            continue
        ((name, options),) = step.items()
        steps.append({name: {} if options is None else options})
        path = (i,) if isinstance(given, str) else (i, name)
        wrong += [Mistake((*path, *inner), said) for inner, said in _faults(name, steps[-1][name])]
    if wrong:
        raise validation_error(*wrong)
    return tuple(steps)


def _faults(name: str, options: Any) -> Iterator[Mistake]:
    """What is wrong with one transform, at paths below its name."""
    known = _transforms()
    if name not in known:
        hint = suggest(name, sorted(known))
        yield Mistake((), f"albumentations has no transform {name!r} that leaves pixels in their places; {hint}")
        return
    if not isinstance(options, dict):
        yield Mistake((), f"given {format_value(options)}, should be a section of options, such as p: 0.8")
        return
    names = [key for key in signature(known[name].__init__).parameters if key != "self"]
    unknown = [key for key in options if key not in names]
    for key in unknown:
        yield Mistake((key,), f"{UNKNOWN_KEY}; {suggest(str(key), names)}")
    large = [(path, number) for path, number in find_numbers(options) if not abs(number) <= MAX_NUMBER]
    for path, number in large:
        yield Mistake(path, f"given {format_value(number)}, should be at most {MAX_NUMBER}")
    if not unknown and not large:
        yield from _faults_when_tried(known[name], options)


def _faults_when_tried(transform: type[Any], options: dict[str, Any]) -> Iterator[Mistake]:
    try:
        tried = _built(transform, {**options, "p": 1.0})(image=PIXELS.copy())["image"]
        _built(transform, options)
    except Exception as error:  # what a transform raises for options that it does not check is of any type
        cause = error.__cause__
        yield from mistakes(cause, options) if isinstance(cause, ValidationError) else [Mistake((), str(error))]
        return
    if tried.shape != PIXELS.shape or tried.dtype != np.uint8:
        said = f"makes {tried.dtype} {tried.shape} of uint8 {PIXELS.shape}"
        yield Mistake((), f"{said}, and should keep size and type, since the clean image stays as it is")


def _transforms() -> dict[str, type[Any]]:
    from unpairaug.translators.pixel_transforms import TRANSFORMS  # takes seconds to import

    return TRANSFORMS


def _built(transform: type[Any], options: dict[str, Any]) -> Any:
    # Only `strict` makes it refuse what it cannot use; otherwise it warns and takes its defaults instead.
    return transform(**options, strict=True)


@register_translator("classic")
class Classic(Translator):
    """A fixed chain of albumentations' transforms, of random strength; nothing is learnt.

    The default is blur, resampling, noise and JPEG in the manner of Real-ESRGAN (Wang et al., 2021, sec. 3), at the
    strengths of a source that is shrunk already. Images pass through 8 bits and through the CPU, one by one. What is
    drawn for an image follows from its own generator.

    Args:
        pipeline: the transforms in their order, each its name in albumentations and its options; those that move
            pixels are refused.
        order: how often the list is run through, with draws of its own each time; 2 is Real-ESRGAN's second order, for
            photographs that have been through several programs.
    """

    def __init__(
        self,
        pipeline: Annotated[tuple[str | Step, ...], AfterValidator(_checked)] = PIPELINE,
        order: Layers = 1,
    ) -> None:
        super().__init__()
        known = _transforms()
        steps = [(name, options) for step in _checked(pipeline) for name, options in step.items()]
        self.transforms = [_built(known[name], options) for name, options in steps] * order

    def degrade(self, source: Tensor, rng: Rng = None) -> Tensor:
        """The source (B, 3, h, w) in [0, 1], degraded; its values are those of 8 bits and carry no gradient."""
        seeds = image_seeds(source, self.rng if rng is None else rng)
        pixels = (source.detach() * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        degraded = np.stack([self._degraded(image, seed) for image, seed in zip(pixels, seeds, strict=True)])
        return torch.from_numpy(degraded).to(source).permute(0, 3, 1, 2) / 255

    def _degraded(self, image: NDArray[np.uint8], seed: list[int]) -> NDArray[np.uint8]:
        """The image (h, w, 3) degraded as the seed says."""
        image = np.ascontiguousarray(image)
        numbers, choices = np.random.default_rng(seed), random.Random(seed[0] << 24 | seed[1])
        for transform in self.transforms:
            transform.set_random_state(numbers, choices)
            image = transform(image=image)["image"]
        return image
