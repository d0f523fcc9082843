"""Trained translators as an augmentation: images in, what the real camera would have made of them out."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from itertools import accumulate
from os import PathLike, fspath
from typing import Any, Literal, TypeVar, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import get_worker_info

from unpairaug.bridge import Bridge
from unpairaug.camera.optics import Optics
from unpairaug.data.array_image import check_tensor_range
from unpairaug.errors import UserError
from unpairaug.networks.four_columns import set_four_columns
from unpairaug.networks.in_place import set_in_place
from unpairaug.rng import Rng, mix_seed, sample_rng, uniform
from unpairaug.translator import Translator, own_scale

M = TypeVar("M", bound=Callable[..., Any])
Model = Translator | str | PathLike[str]
"""A translator, or where it is: a run folder, its `translator/`, or a hub id."""
Models = Model | Mapping[Model, float] | Iterable[tuple[Model, float]]
"""One, or several with weights that are ratios of each other: {"runs/phone": 3, "runs/webcam": 1}."""

LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in grey (ITU-R BT.601), as image libraries convert."""

MixedPrecision = Literal["no", "bf16"]
"""As in accelerate: full precision, or bfloat16 where autocast takes it."""

PART = 3 * 2**17
"""Numbers of a batch that a CPU works on at once, two images of 256x256: the kernel keeps no pages ready for more."""


def _uncompiled(method: M) -> M:
    """The method as it is, which torch.compile leaves out of its graphs."""
    return cast("M", torch.compiler.disable(method))


class TranslatorAugment(nn.Module):
    """Shows images as trained translators' cameras would: a plain module for any batch on any device.

    It acts in training and in evaluation mode alike, as torchvision's and kornia's transforms do. The translators are a
    setting and no part of the model that holds this module: they stay in evaluation mode and full precision, and are in
    neither `parameters()` nor `state_dict()`. They go along where the module is moved to or images come from.
    """

    def __init__(
        self,
        model: Models,
        p: float = 1.0,
        strength: float | Sequence[float] = 1.0,
        seed: int | None = None,
        gradient: bool = False,
        trust_code: bool = False,
        mixed_precision: MixedPrecision = "no",
    ) -> None:
        """Load what is given by name; of a translator that is given itself, keep a copy.

        Args:
            trust_code: see `Translator.from_pretrained`.
            mixed_precision: `bf16` lets the translators' convolutions work in bfloat16, faster where the processor
                has instructions for it: GPUs, and CPUs with AVX512-BF16 or AMX.

        Raises:
            UserError: a model cannot be loaded or does not fit the others, or an option is out of range.
        """
        super().__init__()
        weighted = _weighted(model)
        self.models = [given if isinstance(given, Translator) else fspath(given) for given, _ in weighted]
        """What was given, for messages."""
        self.p = _checked_p(p)
        """Probability that an image is degraded, drawn for each."""
        self.strength = _checked_strength(strength)
        """Share of the translation in the result, 0 the source and 1 the degraded image; [low, high] draws it."""
        self.seed = _checked_seed(seed)
        """Of the draws; None takes them from torch's global generator, as torchvision and kornia do."""
        self.mixed_precision = _checked_precision(mixed_precision)
        """Of the translators; what is blended and returned is not rounded to bfloat16."""
        self.gradient = gradient
        """Whether the images' gradient flows through the translators."""
        self.count = 0
        """Images seen so far: with `seed`, what the draws of each follow from."""
        # In a tuple, torch does not register them as parts of this module.
        self.translators = tuple(_load(given, trust_code) for given, _ in weighted)
        self.edges = _edges([weight for _, weight in weighted])
        self.scale = _common_scale(self.translators)
        """How many times smaller the images get: 1 unless the translators shrink them themselves."""
        self.bridge = Bridge(strength=(self.strength[0], self.strength[1]), round=False)
        self._device = torch.device("cpu")
        self._is_range_checked = False

    def forward(self, images: Tensor, *, rng: Rng = None) -> Tensor:
        """The images, degraded: (B, C, H, W) or (C, H, W), C 3 or 1, floats in [0, 1] or 8 bits -> the same.

        Args:
            images: grey ones (C = 1) pass through the translator as colours, and come back as their luma.
            rng: one generator, or one for each image, on the images' device; instead of what `seed` gives.

        Raises:
            UserError: the images have another shape, type or range (on a GPU checked of the first ones), or the
                generators another number.
        """
        if isinstance(images, Tensor) and images.ndim == 3:
            return self.forward(images[None], rng=rng)[0]
        _check(images, rng)
        # On a GPU the check waits for the device, so only the first images are checked there.
        if not torch.compiler.is_compiling() and (images.device.type == "cpu" or not self._is_range_checked):
            self._check_range(images)
        if images.device != self._device:
            self._move(images.device)
        if rng is None and self.seed is not None and len(images):
            rng = self._seeded(len(images), images.device)
        with torch.set_grad_enabled(self.gradient and torch.is_grad_enabled()):
            if self.p == 1 and len(self.translators) == 1:
                return self._degraded(images, self.translators[0], rng)
            result = images.clone() if self.scale == 1 else _like(images, self._source(_as_colours(images)))
            for i, chosen in self._choices(images, rng):
                result[chosen] = self._degraded(images[chosen], self.translators[i], _of(rng, chosen))
            return result

    def _degraded(self, images: Tensor, translator: Translator, rng: Rng) -> Tensor:
        # Half the part would change what one stream of numbers gives to whom, and gains little there.
        numbers = PART if isinstance(rng, Sequence) else 2 * PART
        part = max(1, numbers // images[0].numel() if len(images) else 1)
        if images.device.type != "cpu" or part >= len(images) or torch.compiler.is_compiling():
            return self._at_once(images, translator, rng)
        spans = [slice(at, at + part) for at in range(0, len(images), part)]
        return torch.cat([self._at_once(images[span], translator, _of(rng, span)) for span in spans])

    def _at_once(self, images: Tensor, translator: Translator, rng: Rng) -> Tensor:
        colours = _as_colours(images)
        with self._precision(images.device.type):
            fake = translator(colours, rng)
        return _like(images, self.bridge(self._source(colours), fake, fake, rng=rng))

    def _precision(self, device: str) -> AbstractContextManager[Any]:
        """Autocast, or what surrounds the call."""
        return torch.autocast(device, torch.bfloat16) if self.mixed_precision == "bf16" else nullcontext()

    def _source(self, colours: Tensor) -> Tensor:
        """What the translation is blended with: the images, reduced by antialiased bicubic where translators shrink."""
        if self.scale == 1:
            return colours
        height, width = colours.shape[-2:]
        size = (height // self.scale, width // self.scale)
        return F.interpolate(colours, size=size, mode="bicubic", antialias=True).clamp(0, 1)

    @_uncompiled
    def _choices(self, images: Tensor, rng: Rng) -> list[tuple[int, Tensor]]:
        """Each translator that is drawn, and the positions of its images in the batch."""
        like = torch.empty(0) if rng is None else images  # drawn on the CPU, nothing has to wait for a GPU
        draws: list[list[float]] = uniform((len(images), 2), like, rng).tolist()
        picked = [bisect(self.edges, which) if applied < self.p else None for applied, which in draws]
        groups = [[at for at, pick in enumerate(picked) if pick == i] for i in range(len(self.translators))]
        return [(i, torch.tensor(group)) for i, group in enumerate(groups) if group]

    @_uncompiled
    def _seeded(self, count: int, device: torch.device) -> Rng:
        """A generator for each of the next images."""
        assert self.seed is not None
        worker = get_worker_info()  # whose copies of this module would all draw alike, and again in every epoch
        seed = self.seed if worker is None else mix_seed(self.seed, worker.seed)
        self.count += count
        return sample_rng(seed, range(self.count - count, self.count), device)

    def _check_range(self, images: Tensor) -> None:
        """Check that images are in [0, 1]."""
        check_tensor_range(images, "images")
        self._is_range_checked = True

    @_uncompiled
    def _move(self, device: torch.device) -> None:
        for translator in self.translators:
            translator.to(device)
        self._device = device

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> TranslatorAugment:
        # Called by to(), cuda(), half() and their like, of which the device alone matters here.
        super()._apply(fn, recurse)
        self._move(fn(torch.empty(0, device=self._device)).device)
        return self

    def extra_repr(self) -> str:
        names = ", ".join(m if isinstance(m, str) else type(m).__name__ for m in self.models)
        return f"{names}, p={self.p}, strength={self.strength}, seed={self.seed}, gradient={self.gradient}"


def _weighted(model: Any) -> list[tuple[Model, float]]:
    if isinstance(model, Translator | str | PathLike):
        return [(model, 1.0)]
    pairs = list(model.items() if isinstance(model, Mapping) else model if isinstance(model, Iterable) else ())
    if not pairs or not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
        raise UserError(f"given {model!r}; give a translator, its folder or hub id, or a list of (model, weight)")
    if wrong := [weight for _, weight in pairs if not 0 < weight < float("inf")]:
        raise UserError(f"weight {wrong[0]!r} of a translator should be above 0; weights are ratios of each other")
    return [(given, float(weight)) for given, weight in pairs]


def _load(model: Model, trust_code: bool) -> Translator:
    is_loaded = isinstance(model, Translator)
    translator = deepcopy(model) if is_loaded else Translator.from_pretrained(model, trust_code=trust_code)
    translator.rng = None  # a training step's, where it is a copy
    translator.eval().requires_grad_(False)
    _make_fast(translator)
    return nn.utils.convert_conv2d_weight_memory_format(translator, torch.channels_last)  # twice as fast on a CPU


def _make_fast(translator: Translator) -> None:
    """Let it take less time on a CPU, in evaluation; results differ by rounding."""
    set_in_place(translator.modules())
    set_four_columns(translator.modules())
    for module in translator.modules():
        if isinstance(module, Optics):
            module.fft_dtype = torch.float32


def _edges(weights: list[float]) -> list[float]:
    """Where in [0, 1) one translator's share ends and the next one's begins."""
    return [end / sum(weights) for end in accumulate(weights)][:-1]


def _common_scale(translators: Sequence[Translator]) -> int:
    scales = sorted({own_scale(translator) for translator in translators})
    if len(scales) > 1:
        raise UserError(f"translators that shrink images by {scales} cannot be mixed: a batch has one size")
    return scales[0]


def _checked_p(p: float) -> float:
    if not 0 <= p <= 1:
        raise UserError(f"p {p!r} should be a probability in [0, 1]")
    return p


def _checked_strength(strength: float | Sequence[float]) -> tuple[float, float]:
    ends = [strength] * 2 if isinstance(strength, int | float) else list(strength)
    if len(ends) != 2 or not 0 <= ends[0] <= ends[1] <= 1:
        raise UserError(f"strength {strength!r} should be a number in [0, 1], or [low, high] within it")
    return ends[0], ends[1]


def _checked_seed(seed: int | None) -> int | None:
    if seed is not None and seed < 0:
        raise UserError(f"seed {seed!r} should be 0 or more, or None for torch's global generator")
    return seed


def _checked_precision(precision: MixedPrecision) -> MixedPrecision:
    if precision not in get_args(MixedPrecision):
        raise UserError(f"mixed_precision {precision!r} should be no or bf16")
    return precision


def _check(images: Any, rng: Rng) -> None:
    if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[1] not in (1, 3):
        given = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise UserError(f"given {given}, should be a tensor of images (B, C, H, W) or (C, H, W) with 3 channels or 1")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise UserError(f"given images of {images.dtype}, should be floats in [0, 1] or torch.uint8")
    if isinstance(rng, Sequence) and len(rng) != len(images):
        raise UserError(f"given {len(rng)} generators for {len(images)} images; give one, or one for each image")


def _as_colours(images: Tensor) -> Tensor:
    """The images as a translator wants them: (B, 3, H, W) in [0, 1], in full precision, whatever they were."""
    colours = images.expand(-1, 3, -1, -1).to(torch.float32, memory_format=torch.channels_last)
    return colours / 255 if images.dtype == torch.uint8 else colours


def _like(images: Tensor, colours: Tensor) -> Tensor:
    """(B, 3, h, w) in [0, 1] with the channels, type and memory format of the images."""
    if images.shape[1] == 1:
        colours = torch.einsum("bchw,c->bhw", colours, colours.new_tensor(LUMA))[:, None]
    if images.dtype == torch.uint8:
        colours = (colours * 255).round()
    colours = colours.to(images.dtype)
    return colours.contiguous() if images.is_contiguous() else colours


def _of(rng: Rng, span: slice | Tensor) -> Rng:
    """The generators of some of the images, where each has its own."""
    if not isinstance(rng, Sequence):
        return rng
    return rng[span] if isinstance(span, slice) else [rng[i] for i in span.tolist()]
