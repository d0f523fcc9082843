"""Generators, and the parts that networks share. No losses, no optimisers, no files.

Images enter and leave in [0, 1]; a network that thinks in [-1, 1] converts inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Literal, cast

import torch
from torch import Tensor, nn

from unpairaug.networks.init import init_gan_weights, zero_
from unpairaug.networks.noise import SignalDependentNoise
from unpairaug.networks.resize import pad_to_multiple
from unpairaug.rng import Rng

Norm = Literal["batch", "instance", "none"]
UpMode = Literal["transpose", "resize", "pixelshuffle"]


class ResnetGenerator(nn.Module):
    """CycleGAN's generator (Zhu et al., 2017; after Johnson et al., 2016): (B, C, H, W) in [0, 1] -> the same.

    Two stride-2 convolutions, `n_blocks` residual blocks, two up-samplings, tanh. Any H, W: the image is padded to a
    multiple of 4 and cropped again. Residual blocks are zero-padded, as in CycleSR, where the original reflects.
    """

    def __init__(
        self,
        ngf: int = 64,
        n_blocks: int = 9,
        norm: Norm = "instance",
        up_mode: UpMode = "transpose",
        channels: int = 3,
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_conv(channels, ngf, 7, norm, reflect=True),
            *_conv(ngf, 2 * ngf, 3, norm, stride=2),
            *_conv(2 * ngf, 4 * ngf, 3, norm, stride=2),
            *(ResidualBlock(4 * ngf, norm) for _ in range(n_blocks)),
            *_upsample(4 * ngf, 2 * ngf, norm, up_mode),
            *_upsample(2 * ngf, ngf, norm, up_mode),
            nn.ReflectionPad2d(3),
            nn.Conv2d(ngf, channels, 7),
            nn.Tanh(),
        )
        self.apply(init_gan_weights)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        padded = pad_to_multiple(image, 4)
        return (self.body(2 * padded - 1) / 2 + 0.5)[..., :height, :width]

    def features(self, image: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """What the image (B, C, H, W) has become at layers of the first half, as CUT compares it (Park et al., 2020).

        Layer 0 is the image in [-1, 1], 1 and 2 are the results of the stride-2 convolutions before their norm, and
        from 3 on those of the residual blocks.
        """
        steps = [0 if layer == 0 else 3 * min(layer, 3) + max(layer - 3, 0) + 1 for layer in layers]
        results = [2 * pad_to_multiple(image, 4) - 1]
        for part in self.body[: max(steps)]:
            results.append(part(results[-1]))
        return [results[step] for step in steps]

    @property
    def last(self) -> nn.Conv2d:
        """The convolution whose result tanh makes an image of; with weights of 0 that is grey."""
        return cast("nn.Conv2d", self.body[-2])

    def width_of(self, layer: int) -> int:
        """Features of a layer of `features`."""
        first = cast("nn.Conv2d", self.body[0])
        return first.out_channels * 2 ** min(layer, 2) if layer else first.in_channels


class ResidualBlock(nn.Module):
    """x + res_scale * conv-norm-activation-conv-norm(x), nothing after the sum (He et al., 2016)."""

    def __init__(
        self, width: int, norm: Norm, activation: Callable[[], nn.Module] = nn.ReLU, res_scale: float = 1.0
    ) -> None:
        super().__init__()
        self.res_scale = res_scale
        first, second = _conv(width, width, 3, norm)[:-1], _conv(width, width, 3, norm)[:-1]
        self.body = nn.Sequential(*first, activation(), *second)

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.body(x), alpha=self.res_scale)


class ResidualGenerator(nn.Module):
    """image + f(image): (B, C, H, W) in [0, 1] -> the same, not clamped.

    f is `depth` 3x3 convolutions, zero at the start. There is no norm: it would wash out colour.
    """

    def __init__(self, width: int = 16, depth: int = 5, channels: int = 3) -> None:
        super().__init__()
        widths = [channels, *[width] * (depth - 1), channels]
        convolutions = [nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(widths)]
        zero_(convolutions[-1])
        self.residual = nn.Sequential(*(part for c in convolutions for part in (c, nn.LeakyReLU(0.2))))[:-1]
        self.receptive_margin = depth

    def forward(self, image: Tensor) -> Tensor:
        return image + self.residual(image - 0.5)


class PlainGenerator(nn.Module):
    """CinCGAN's generators (Yuan et al., 2018): (B, 3, H, W) in [0, 1] -> (B, 3, H / scale, W / scale), not clamped.

    Three convolutions, six residual blocks, three convolutions, of `width` features. One that shrinks (G3) does so in
    the second and third convolution, at scale 4 by 2 and 2, else at once; G1 and G2 keep the size.

    With `residual`, which is not CinCGAN's, it adds to the image and starts from nothing; at scale 1 only.
    """

    def __init__(
        self, width: int = 64, scale: int = 1, n_blocks: int = 6, norm: Norm = "none", residual: bool = False
    ) -> None:
        super().__init__()
        self.residual = residual
        strides = (2, 2) if scale == 4 else (scale, 1)
        head = [(3, 7, 1), (width, 3, strides[0]), (width, 3, strides[1])]
        layers: list[nn.Module] = []
        for before, size, stride in head:
            layers += [nn.Conv2d(before, width, size, stride, size // 2), nn.LeakyReLU(0.2)]
        layers += [ResidualBlock(width, norm, partial(nn.LeakyReLU, 0.2)) for _ in range(n_blocks)]
        for _ in range(2):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(0.2)]
        last = nn.Conv2d(width, 3, 7, padding=3)
        if residual:
            zero_(last)
        self.body = nn.Sequential(*layers, last)
        if scale == 1:
            self.receptive_margin = 10 + 2 * n_blocks

    def forward(self, image: Tensor) -> Tensor:
        made = self.body(2 * image - 1) / 2
        return image + made if self.residual else made + 0.5


class NoisyGenerator(nn.Module):
    """A residual generator whose result carries noise that depends on the image: (B, C, H, W) in [0, 1] -> the same."""

    def __init__(self, width: int = 16, depth: int = 5, grain: int = 3, channels: int = 3) -> None:
        super().__init__()
        self.content = ResidualGenerator(width, depth, channels)
        self.noise = SignalDependentNoise(grain, channels)

    def forward(self, image: Tensor, rng: Rng = None) -> Tensor:
        return self.content(image) + self.noise(image, rng)


def make_norm(norm: Norm, width: int) -> nn.Module:
    kinds: dict[Norm, Callable[[int], nn.Module]] = {
        "batch": nn.BatchNorm2d,
        "instance": nn.InstanceNorm2d,
        "none": lambda _: nn.Identity(),
    }
    return kinds[norm](width)


def _conv(before: int, after: int, size: int, norm: Norm, stride: int = 1, reflect: bool = False) -> list[nn.Module]:
    pad = size // 2
    conv = nn.Conv2d(before, after, size, stride, pad, padding_mode="reflect" if reflect else "zeros")
    return [conv, make_norm(norm, after), nn.ReLU()]


def _upsample(before: int, after: int, norm: Norm, up_mode: UpMode) -> list[nn.Module]:
    """Twice the size: transposed convolution, nearest resize and convolution (Odena et al., 2016), or pixel shuffle."""
    if up_mode == "transpose":
        up: list[nn.Module] = [nn.ConvTranspose2d(before, after, 3, 2, 1, output_padding=1)]
    elif up_mode == "resize":
        up = [nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(before, after, 3, padding=1)]
    else:
        up = [nn.Conv2d(before, 4 * after, 3, padding=1), nn.PixelShuffle(2)]
    return [*up, make_norm(norm, after), nn.ReLU()]
