"""Every built-in part in a size that a test can afford."""

from __future__ import annotations

from typing import Any

# Options that keep a built-in part small; one that has no row is checked with its defaults.
SMALL: dict[str, dict[str, Any]] = {
    "cyclegan": {"ngf": 4, "n_blocks": 1, "discriminator": {"type": "patch", "ndf": 4, "n_layers": 2}},
    "cincgan": {"width": 4, "n_blocks": 1, "discriminator": {"type": "patch", "ndf": 4, "n_layers": 2, "stride": 1}},
    "stochastic_cyclegan": {"width": 4, "depth": 3, "discriminator": {"type": "texture", "ndf": 4}},
    "one_sided": {"width": 4, "depth": 3, "discriminator": {"type": "texture", "ndf": 4}},
    "kernel_noise": {"kernel": 5, "latent": 2, "discriminator": {"type": "texture", "ndf": 4}},
    "cut": {
        "ngf": 4,
        "n_blocks": 1,
        "layers": [0, 1, 3],
        "num_patches": 16,
        "discriminator": {"type": "patch", "ndf": 4, "n_layers": 2},
    },
    "sr": {"head": {"type": "vdsr", "depth": 3, "width": 8}},
    "denoise": {"head": {"type": "dncnn", "depth": 3, "width": 8}},
    "deblur": {"head": {"type": "spandrel", "arch": "NAFNet", "width": 8, "enc_blk_nums": [1], "dec_blk_nums": [1]}},
    "vdsr": {"depth": 4, "width": 8},
    "vdsr_cyclesr": {"n_blocks": 2, "width": 8},
    "edsr": {"n_blocks": 2, "width": 8},
    "srresnet": {"n_blocks": 2, "width": 8},
    "dncnn": {"depth": 3, "width": 8},
    "spandrel": {"arch": "Compact", "num_feat": 8, "num_conv": 2},
}


def built_in(registry) -> list[str]:
    return [entry.name for entry in registry.entries() if entry.origin == "built in"]


def small(name: str, **options: Any) -> dict[str, Any]:
    return {"type": name, **SMALL.get(name, {}), **options}
