"""How weights start."""

from __future__ import annotations

from torch import nn


def init_gan_weights(module: nn.Module) -> None:
    """Convolution weights ~ N(0, 0.02), biases 0 (Radford et al., 2016), as CycleGAN and CycleSR start."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def zero_(layer: nn.Conv2d) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
